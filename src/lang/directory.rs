//! Where every name of an experiment is declared, so that a message about a name that is not known in one place can say
//! where it is.

use indexmap::IndexMap;

use crate::diag::Span;
use crate::syntax::ast::{Item, ItemKind, Model, Name, Tasks};

/// The first declaration of every name: its place, and what it declares, as words that can follow "is".
#[derive(Debug, Default, Clone)]
pub(super) struct Directory(IndexMap<String, (Span, String)>);

impl Directory {
    /// Lists the declarations of all items.
    pub fn of(items: &[Item]) -> Directory {
        let mut directory = Directory::default();
        for item in items {
            match &item.kind {
                ItemKind::Dim { name, .. } => directory.add(name, "a dim"),
                ItemKind::Let { name, .. } => directory.add(name, "a number"),
                ItemKind::Data { name, .. } => directory.add(name, "a data set"),
                ItemKind::World { decls } => {
                    decls.iter().for_each(|d| directory.add(&d.name, "a variable of the world"))
                }
                ItemKind::Tasks(tasks) => directory.tasks(tasks),
                ItemKind::Model(model) => directory.model(model),
                ItemKind::Function(function) => directory.add(&function.name, "a function"),
                ItemKind::Layer(layer) => directory.add(&layer.model.name, "a layer"),
                ItemKind::Section(section) => {
                    let what =
                        if section.keyword.text == "stage" { "a stage of training" } else { "an `evaluate` block" };
                    section.name.iter().for_each(|name| directory.add(name, what));
                }
                ItemKind::Arm { name, .. } => directory.add(name, "an arm"),
                ItemKind::Method(method) => directory.add(&method.name, "a method"),
                ItemKind::Measure { name, .. } => directory.add(name, "a measure"),
                ItemKind::Sweep { .. } | ItemKind::Expect { .. } => {}
            }
        }
        directory
    }

    fn tasks(&mut self, tasks: &Tasks) {
        let family = &tasks.name.text;
        self.add(&tasks.name, "a family of tasks");
        for stratum in &tasks.strata {
            self.add(&stratum.name, format!("a stratum of `{family}`"));
            stratum.decls.iter().for_each(|d| self.add(&d.name, format!("a variable of the tasks of `{family}`")));
        }
        tasks.decls.iter().for_each(|d| self.add(&d.name, format!("a variable of the tasks of `{family}`")));
        tasks.episode.iter().for_each(|d| self.add(&d.name, format!("a variable of the episodes of `{family}`")));
        tasks.example.iter().for_each(|d| self.add(&d.name, format!("a variable of the examples of `{family}`")));
    }

    fn model(&mut self, model: &Model) {
        self.add(&model.name, "the model");
        model.inputs.iter().for_each(|(name, _)| self.add(name, "an input of the model"));
        for param in &model.params {
            param.group.iter().for_each(|group| self.add(group, "a group of parameters"));
            self.add(&param.decl.name, "a parameter of the model");
        }
        model.lets.iter().for_each(|d| self.add(&d.name, "a value inside the model"));
    }

    fn add(&mut self, name: &Name, what: impl Into<String>) {
        self.0.entry(name.text.clone()).or_insert_with(|| (name.span, what.into()));
    }

    /// Where a name is declared, and as what.
    pub fn find(&self, name: &str) -> Option<(Span, &str)> {
        self.0.get(name).map(|(span, what)| (*span, what.as_str()))
    }
}
