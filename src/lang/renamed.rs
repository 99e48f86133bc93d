//! Spellings that have changed: they are read as what stands for them now, with a warning that `check --fix` follows.

use crate::diag::{Diagnostic, Sink};
use crate::syntax::ast::{Field, File, ItemKind, Name};

/// A field of a block that has another name since an edition.
struct Renamed {
    /// The keyword of the block.
    block: &'static str,
    /// Its former name.
    from: &'static str,
    /// Its name.
    to: &'static str,
    /// The first edition with that name.
    since: u32,
}

/// All of them. A replay needs none: plans hold no spelling.
const TABLE: &[Renamed] = &[
    // What `after` lists was called so before `over: steps` came to mean the steps of training in claims.
    Renamed { block: "evaluate", from: "steps", to: "after", since: 2026 },
];

/// The file with today's spellings.
pub(super) fn renew(file: &File, sink: &mut Sink) -> File {
    let mut file = file.clone();
    for item in &mut file.items {
        match &mut item.kind {
            ItemKind::Section(section) => {
                let block = section.keyword.text.clone();
                section
                    .fields
                    .iter_mut()
                    .filter_map(|f| f.path.first_mut())
                    .for_each(|name| rename(&block, name, sink));
            }
            ItemKind::Arm { fields, .. } => fields.iter_mut().for_each(|field| path(&mut field.path, sink)),
            ItemKind::Sweep { paths, .. } => paths.iter_mut().for_each(|names| path(names, sink)),
            _ => {}
        }
    }
    file
}

/// Overrides from the command line with today's spellings.
pub(super) fn renew_overrides(fields: &[Field], sink: &mut Sink) -> Vec<Field> {
    let mut fields = fields.to_vec();
    fields.iter_mut().for_each(|field| path(&mut field.path, sink));
    fields
}

/// `evaluate.test.steps`
fn path(names: &mut [Name], sink: &mut Sink) {
    if let [block, _, field, ..] = names {
        rename(&block.text.clone(), field, sink);
    }
}

fn rename(block: &str, name: &mut Name, sink: &mut Sink) {
    let Some(entry) = TABLE.iter().find(|entry| entry.block == block && entry.from == name.text) else { return };
    let message = format!("`{}` of `{block}` is called `{}`", entry.from, entry.to);
    sink.push(
        Diagnostic::warning("W0507", name.span, message)
            .help(format!("so since edition {}; it is read as that", entry.since))
            .fix(name.span, entry.to, "the name of today")
            .safe(),
    );
    entry.to.clone_into(&mut name.text);
}
