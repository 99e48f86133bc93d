//! The `bert` and `roberta` layers of the library, with the parameters of a checkpoint, against Hugging Face's `transformers`.

use metadsl::data::{Weights, read_safetensors};
use metadsl::exec::exact::{Exact, Path};
use metadsl::exec::reference::Reference;
use metadsl::exec::{Executor, Precision};
use metadsl::ir::{Builder, Function, NodeId, Tensor, grad};
use metadsl::plan::Model;

use crate::compile::compile;
use crate::compose::compose;
use crate::harness::{outputs, reference, tensor};

const TINY: &str = r#"
edition 2026
experiment tiny
dim tokens = 6
dim width = 8
data base = safetensors("tiny_bert.safetensors")
tasks texts { example { ids: [tokens] = 1; y: [] ~ normal } }
model net(ids: [tokens]) -> [tokens, width] from base {
  let text = bert(ids, sign(ids), vocabulary: 20, width: width, depth: 2, heads: 2, inner: 12, longest: 9)
  text
}
train {
  tasks  = fresh(texts, 1)
  split  = { support: 1, query: 1 }
  with   = lora(on: "text.*.query.weight", rank: 2, alpha: 1)
  freeze = text
  adapt  = gradient(lora, rate: 0.1, steps: 1)
  loss   = sum(net(ids)) * y
  outer  = mean
  update = sgd(rate: 0.1)
  steps  = 1
}
measure size = sum(text.embeddings.LayerNorm.bias) every 1
"#;

fn model() -> Model {
    let plan = compile(TINY, &[]);
    plan.arms[0].model.clone()
}

fn checkpoint() -> Weights {
    read("tiny_bert.safetensors")
}

fn read(name: &str) -> Weights {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference").join(name);
    read_safetensors(std::fs::read(file).expect("it is there").into()).expect("it can be read")
}

fn close(found: &Tensor, wanted: &Tensor, tolerance: f64, what: &str) {
    assert_eq!(found.dims(), wanted.dims(), "{what}");
    let largest = wanted.data().iter().fold(0.0f64, |m, x| m.max(x.abs()));
    for (x, y) in found.data().iter().zip(wanted.data()) {
        assert!((x - y).abs() <= tolerance * largest, "{what}: {x} for {y}");
    }
}

#[test]
fn every_parameter_is_in_the_checkpoint() {
    let (model, weights) = (model(), checkpoint());
    let of_bert: Vec<&str> = model.params.iter().map(|p| p.name.as_str()).filter(|n| !n.starts_with("lora.")).collect();
    assert_eq!(of_bert.len(), weights.names().count());
    for slot in model.params.iter().filter(|p| !p.name.starts_with("lora.")) {
        let found = weights.find(&slot.name).unwrap_or_else(|| panic!("`{}` is not there", slot.name));
        assert_eq!(found.dims(), slot.dims, "{}", slot.name);
    }
}

/// The last hidden state, and the gradient of its sum of squares by the factors of the low-rank change.
fn program(model: &Model) -> (Function, Vec<String>) {
    let mut b = Builder::new();
    let names: Vec<String> = model.params.iter().map(|p| p.name.clone()).collect();
    let mut params: Vec<NodeId> = model.params.iter().map(|p| b.input(p.name.clone(), &p.dims)).collect();
    let factors: Vec<NodeId> = (0..names.len()).filter(|&i| names[i].starts_with("lora.")).map(|i| params[i]).collect();
    let ids = b.input("ids", &[6]);
    let place = |name: &str| names.iter().position(|n| n == name);
    compose(&mut b, model, place, &mut params);
    let args: Vec<NodeId> = model.forward.inputs.iter().map(|p| place(&p.name).map_or(ids, |i| params[i])).collect();
    let hidden = b.inline(&model.forward, &args)[0];
    let square = b.mul(hidden, hidden);
    let total = b.sum_all(square);
    let gradients = grad(&mut b, total, &factors);
    let outputs = [vec![hidden], gradients].concat().into_iter().enumerate();
    (b.finish("bert", outputs.map(|(i, node)| (format!("out{i}"), node)).collect()), names)
}

fn agrees<E: Executor>(executor: &E, tolerance: f64) {
    let (model, weights, json) = (model(), checkpoint(), reference("tiny_bert.json"));
    let (function, names) = program(&model);
    let given: Vec<Tensor> = json["factors"].as_array().expect("a list").iter().map(tensor).collect();
    let added = names.iter().filter(|name| name.starts_with("lora.")).count();
    assert_eq!(added, given.len());
    for changed in [false, true] {
        let mut factors = given.iter();
        let value = |name: &String| match name.starts_with("lora.") {
            true => {
                let factor = factors.next().expect("one for each");
                if changed { factor.clone() } else { Tensor::full(factor.dims(), 0.0) }
            }
            false => weights.find(name).expect("in the checkpoint"),
        };
        let mut args: Vec<Tensor> = names.iter().map(value).collect();
        args.push(tensor(&json["ids"]));
        let results = outputs(executor, &function, &args);
        let hidden = tensor(&json[if changed { "hidden_with_factors" } else { "hidden" }]);
        close(&results[0], &hidden, tolerance, "the last hidden state");
        if changed {
            let wanted: Vec<Tensor> = json["gradients"].as_array().expect("a list").iter().map(tensor).collect();
            for (found, wanted) in results[1..].iter().zip(&wanted) {
                close(found, wanted, 20.0 * tolerance, "the gradient of a factor");
            }
        }
    }
}

#[test]
fn in_double_precision() {
    agrees(&Reference::new(Precision::F64), 1e-9);
    agrees(&Exact::<f64>::new(Path::detect()), 1e-9);
}

#[test]
fn in_single_precision() {
    agrees(&Exact::<f32>::new(Path::detect()), 1e-5);
}

/// Texts along a dim in front have the bits that each has by itself.
#[test]
fn several_texts_at_once() {
    let several = TINY.replace("ids: [tokens]", "ids: [2, tokens]").replace("-> [tokens", "-> [2, tokens");
    let forward = |text: &str| compile(text, &[]).arms[0].model.forward.clone();
    let weights = checkpoint();
    let rows = [[3.0, 7.0, 1.0, 19.0, 0.0, 0.0], [5.0, 2.0, 11.0, 4.0, 8.0, 6.0]];
    let hidden = |function: &Function, ids: Tensor| {
        let value =
            |name: &str| if name == "ids" { ids.clone() } else { weights.find(name).expect("in the checkpoint") };
        let args: Vec<Tensor> = function.inputs.iter().map(|port| value(&port.name)).collect();
        outputs(&Exact::<f32>::new(Path::detect()), function, &args).remove(0)
    };
    let one = forward(TINY);
    let apart: Vec<Tensor> = rows.iter().map(|row| hidden(&one, Tensor::new(vec![6], row.to_vec()))).collect();
    let together = hidden(&forward(&several), Tensor::new(vec![2, 6], rows.concat()));
    assert_eq!(together.dims(), [2, 6, 8]);
    assert_eq!(together.data(), [apart[0].data(), apart[1].data()].concat());
    assert_ne!(apart[0].data(), apart[1].data());
}

const TINY_ROBERTA: &str = r#"
edition 2026
experiment tiny
dim tokens = 7
dim width = 8
data base = safetensors("tiny_roberta.safetensors")
tasks texts { example { ids: [tokens] = 1; mask: [tokens] = 1; y: [] ~ normal } }
model net(ids: [tokens], mask: [tokens]) -> [tokens, width] from base {
  let text = roberta(ids, mask, vocabulary: 20, width: width, depth: 2, heads: 2, inner: 12, longest: 10)
  text
}
train {
  tasks  = fresh(texts, 1)
  split  = { support: 1, query: 1 }
  adapt  = none
  loss   = sum(net(ids, mask)) * y
  outer  = mean
  update = sgd(rate: 0.1)
  steps  = 1
}
measure size = sum(text.roberta.embeddings.LayerNorm.bias) every 1
"#;

/// The rows of the last hidden state that are no padding, and the gradient of their sum of squares by the position embeddings.
#[test]
fn roberta_with_padding() {
    let plan = compile(TINY_ROBERTA, &[]);
    let model = &plan.arms[0].model;
    let (weights, json) = (read("tiny_roberta.safetensors"), reference("tiny_roberta.json"));
    assert_eq!(model.params.len(), weights.names().count());
    let mut b = Builder::new();
    let inputs = model.forward.inputs.iter().map(|p| b.input(p.name.clone(), model.forward.dims(p.node)));
    let inputs: Vec<NodeId> = inputs.collect();
    let hidden = b.inline(&model.forward, &inputs)[0];
    let seen = b.slice(hidden, 0, 0, 5);
    let square = b.mul(seen, seen);
    let total = b.sum_all(square);
    let positions = model.forward.inputs.iter().position(|p| p.name.contains("position_embeddings"));
    let gradient = grad(&mut b, total, &[inputs[positions.expect("it has positions")]])[0];
    let function = b.finish("roberta", vec![("hidden".into(), seen), ("gradient".into(), gradient)]);
    let args = model.forward.inputs.iter().map(|port| match port.name.as_str() {
        "ids" | "mask" => tensor(&json[&port.name]),
        name => weights.find(name).unwrap_or_else(|| panic!("`{name}` is not there")),
    });
    let args: Vec<Tensor> = args.collect();
    let results = outputs(&Exact::<f64>::new(Path::detect()), &function, &args);
    close(&results[0], &tensor(&json["hidden"]), 1e-9, "the last hidden state");
    close(&results[1], &tensor(&json["gradient"]), 1e-8, "the gradient of the positions");
    let results = outputs(&Exact::<f32>::new(Path::detect()), &function, &args);
    close(&results[0], &tensor(&json["hidden"]), 1e-5, "the last hidden state in single precision");
}
