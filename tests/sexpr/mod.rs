//! The syntax tree as S-expressions without spans, for snapshots.

use metadsl::syntax::File;
use metadsl::syntax::ast::{Arg, Decl, Dims, Expr, ExprKind, Field, ItemKind, Layer, Name};

/// A whole file, one item after the other.
pub fn file(file: &File) -> String {
    let mut out = String::new();
    for line in file.doc.lines() {
        out += &format!("(doc {line:?})\n");
    }
    if let Some((year, _)) = file.edition {
        out += &format!("(edition {year})\n");
    }
    if let Some(name) = &file.name {
        out += &format!("(experiment {})\n", name.text);
    }
    for item in &file.items {
        out += &format!("({})\n", kind(&item.kind));
    }
    out
}

fn kind(kind: &ItemKind) -> String {
    match kind {
        ItemKind::Dim { name, value } => format!("dim {} {}", name.text, expr(value)),
        ItemKind::Let { name, value } => format!("let {} {}", name.text, expr(value)),
        ItemKind::Data { name, value } => format!("data {} {}", name.text, expr(value)),
        ItemKind::World { decls: all } => format!("world{}", decls(all, 1)),
        ItemKind::Tasks(t) => {
            let mut out = format!("tasks {}{}{}", t.name.text, named(" from ", &t.from), decls(&t.decls, 1));
            for s in &t.strata {
                out += &format!("\n  (stratum {} {}{})", s.name.text, expr(&s.count), decls(&s.decls, 2));
            }
            out += &format!("\n  (episode{})", decls(&t.episode, 2));
            out += &format!("\n  (example{})", decls(&t.example, 2));
            out + &fields(&t.fields)
        }
        ItemKind::Model(m) | ItemKind::Function(m) | ItemKind::Layer(Layer { model: m, .. }) => {
            let inputs: Vec<String> = m.inputs.iter().map(|(n, d)| format!("{}:{}", n.text, dims(d))).collect();
            let word = match kind {
                ItemKind::Model(_) => "model",
                ItemKind::Layer(_) => "layer",
                _ => "fn",
            };
            let mut out = format!("{word} {} ({}) -> {}", m.name.text, inputs.join(" "), dims(&m.output));
            if let ItemKind::Layer(layer) = kind {
                let value = |value: &Option<Expr>| value.as_ref().map_or(String::new(), |v| format!(":{}", expr(v)));
                let takes: Vec<String> = layer.takes.iter().map(|(n, v)| format!("{}{}", n.text, value(v))).collect();
                out += &format!("\n  (takes {})", takes.join(" "));
            }
            for p in &m.params {
                out += &format!("\n  (param{}{})", named(" in ", &p.group), decl(&p.decl));
            }
            for l in &m.lets {
                out += &format!("\n  (let{})", decl(l));
            }
            out + &format!("\n  {}", expr(&m.body))
        }
        ItemKind::Section(s) => format!("{}{}{}", s.keyword.text, named(" ", &s.name), fields(&s.fields)),
        ItemKind::Arm { name, fields: all } => format!("arm {}{}", name.text, fields(all)),
        ItemKind::Method(m) => {
            let default = |value: &Option<Expr>| value.as_ref().map_or(String::new(), |v| format!(":{}", expr(v)));
            let params: Vec<String> = m.params.iter().map(|(n, v)| format!("{}{}", n.text, default(v))).collect();
            format!("method {} ({}){}", m.name.text, params.join(" "), fields(&m.fields))
        }
        ItemKind::Measure { name, value, on, every } => {
            let every = every.as_ref().map_or(String::new(), |e| format!(" every {}", expr(e)));
            format!("measure {} {}{}{every}", name.text, expr(value), named(" on ", on))
        }
        ItemKind::Sweep { paths, values } => {
            let paths: Vec<String> = paths.iter().map(|p| path(p)).collect();
            format!("sweep {} {}", paths.join(" "), expr(values))
        }
        ItemKind::Expect { left, cmp, right } => format!("expect {} {} {}", cmp.symbol(), expr(left), expr(right)),
    }
}

fn named(before: &str, name: &Option<Name>) -> String {
    name.as_ref().map_or(String::new(), |n| format!("{before}{}", n.text))
}

fn fields(fields: &[Field]) -> String {
    fields.iter().map(|f| format!("\n  ({} = {})", path(&f.path), expr(&f.value))).collect()
}

fn decls(decls: &[Decl], depth: usize) -> String {
    decls.iter().map(|d| format!("\n{}({})", "  ".repeat(depth), decl(d).trim_start())).collect()
}

fn decl(d: &Decl) -> String {
    let sign = if d.drawn { "~" } else { "=" };
    format!(
        " {}{} {sign} {}",
        d.name.text,
        d.dims.as_ref().map_or(String::new(), |d| format!(":{}", dims(d))),
        expr(&d.value)
    )
}

fn dims(dims: &Dims) -> String {
    format!("[{}]", dims.dims.iter().map(expr).collect::<Vec<_>>().join(" "))
}

fn path(path: &[Name]) -> String {
    path.iter().map(|n| n.text.as_str()).collect::<Vec<_>>().join(".")
}

fn arg(a: &Arg) -> String {
    a.key.as_ref().map_or(String::new(), |k| format!("{}:", k.text)) + &expr(&a.value)
}

/// One expression.
pub fn expr(e: &Expr) -> String {
    let all = |head: &str, items: Vec<String>| {
        let mut words = vec![head.to_owned()];
        words.extend(items);
        format!("({})", words.join(" "))
    };
    match &e.kind {
        ExprKind::Number(n) => n.to_string(),
        ExprKind::Text(t) => format!("{t:?}"),
        ExprKind::Bool(b) => b.to_string(),
        ExprKind::Path(p) => path(p),
        ExprKind::Call { callee, args } => all(&callee.text, args.iter().map(arg).collect()),
        ExprKind::List(items) => all("list", items.iter().map(expr).collect()),
        ExprKind::Record(entries) => {
            all("record", entries.iter().map(|(k, v)| format!("{}:{}", k.text, expr(v))).collect())
        }
        ExprKind::Range(a, b) => all("..", vec![expr(a), expr(b)]),
        ExprKind::Neg(x) => all("neg", vec![expr(x)]),
        ExprKind::Binary(op, a, b) => all(op.symbol(), vec![expr(a), expr(b)]),
        ExprKind::Index(x, i) => all("index", std::iter::once(expr(x)).chain(i.iter().map(arg)).collect()),
        ExprKind::Error => "ERROR".to_owned(),
    }
}
