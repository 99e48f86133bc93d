//! Operations of neural networks against PyTorch: values, gradients and second derivatives.

use metadsl::catalog::{Pool, Windows, operator};
use metadsl::exec::exact::{Exact, Path};
use metadsl::exec::reference::Reference;
use metadsl::exec::{Executor, Precision};
use metadsl::ir::{Builder, Function, NodeId, Tensor, batch, grad};
use serde_json::Value as Json;

use crate::compile::compile;
use crate::harness::{outputs, reference, tensor};

fn over(size: &[usize], stride: usize, padding: usize, dilation: usize) -> Vec<Windows> {
    size.iter().map(|&size| Windows { size, stride, padding, dilation }).collect()
}

/// The operation of a case of `layers.json`.
fn apply(name: &str, b: &mut Builder, x: &[NodeId]) -> NodeId {
    match name {
        "conv" => operator::conv(b, x[0], x[1], &over(&[3, 2], 1, 0, 1), 1),
        "conv strided" => operator::conv(b, x[0], x[1], &over(&[3, 3], 2, 1, 1), 1),
        "conv dilated" => operator::conv(b, x[0], x[1], &over(&[3, 3], 1, 2, 2), 1),
        "conv groups" => operator::conv(b, x[0], x[1], &over(&[3, 3], 1, 0, 1), 2),
        "conv line" => operator::conv(b, x[0], x[1], &over(&[3], 2, 1, 1), 1),
        "max_pool" => operator::pool(b, x[0], &over(&[3, 3], 2, 1, 1), Pool::Max),
        "avg_pool" => operator::pool(b, x[0], &over(&[2, 2], 2, 0, 1), Pool::Mean),
        "layer_norm" => operator::normalise(b, x[0], 1, 1e-5),
        "group_norm" => operator::normalise_groups(b, x[0], 2, 1e-5),
        "batch_norm" => {
            let (cases, dims) = (b.dims(x[0])[0], b.dims(x[0])[1..].to_vec());
            let mut one = Builder::new();
            let example = one.input("x", &dims);
            let normal = operator::normalise_examples(&mut one, example, 1e-5);
            let one = one.finish("example", vec![("y".into(), normal)]);
            batch(b, &one, x, &[true], cases)[0]
        }
        "gru" => {
            let forward = scanned();
            let names = ["x", "state", "end.weight_ih", "end.weight_hh", "end.bias_ih", "end.bias_hh"];
            let place = |name: &str| names.iter().position(|n| *n == name).expect("an input or a parameter");
            let args: Vec<NodeId> = forward.inputs.iter().map(|port| x[place(&port.name)]).collect();
            b.inline(&forward, &args)[0]
        }
        "embed" => {
            let ids = [2.0, 0.0, 2.0, 3.0].map(|id| b.full(id, &[1]));
            let padded = ids.iter().enumerate().map(|(i, &id)| b.pad(id, 0, i, 3 - i)).collect::<Vec<_>>();
            let ids = padded.into_iter().reduce(|a, c| b.add(a, c)).expect("four numbers");
            b.gather(x[0], ids, 0)
        }
        "attention" => operator::attention(b, [x[0], x[1], x[2]], None, 2, None),
        "attention masked" => {
            let all = b.full(1.0, &[5]);
            let (second, last) = (b.slice(all, 0, 0, 1), b.slice(all, 0, 0, 1));
            let (second, last) = (b.pad(second, 0, 1, 3), b.pad(last, 0, 4, 0));
            let mask = b.sub(all, second);
            let mask = b.sub(mask, last);
            operator::attention(b, [x[0], x[1], x[2]], Some(mask), 1, None)
        }
        other => panic!("no operation is called {other}"),
    }
}

/// The `gru` of the library along a sequence, as a model.
fn scanned() -> Function {
    const TEXT: &str = "
edition 2026
experiment scanned
dim rows = 5
dim width = 3
dim units = 4
tasks sequences { example { x: [rows, width] ~ normal; state: [units] ~ normal; y: [units] ~ normal } }
model net(x: [rows, width], state: [units]) -> [units] {
  let end = scan(gru(state, x))
  end
}
train {
  tasks = fresh(sequences, 1)
  split = { support: 1, query: 1 }
  loss = squared
  adapt = none
  outer = mean
  update = sgd(rate: 0.1)
  steps = 1
}
measure size = sum(end.bias_ih)
";
    let plan = compile(TEXT, &[]);
    plan.arms[0].model.forward.clone()
}

/// The value, its gradients, and the gradients of their sum of squares.
fn program(name: &str, inputs: &[Tensor], weights: &Tensor) -> Function {
    let mut b = Builder::new();
    let x: Vec<NodeId> = inputs.iter().enumerate().map(|(i, x)| b.input(format!("x{i}"), x.dims())).collect();
    let w = b.input("weights", weights.dims());
    let y = apply(name, &mut b, &x);
    let weighted = b.mul(y, w);
    let total = b.sum_all(weighted);
    let first = grad(&mut b, total, &x);
    let squares = first.iter().map(|&g| {
        let square = b.mul(g, g);
        b.sum_all(square)
    });
    let squares = squares.collect::<Vec<_>>().into_iter().reduce(|a, c| b.add(a, c)).expect("an input");
    let second = grad(&mut b, squares, &x);
    let outputs = [vec![y], first, second].concat().into_iter().enumerate();
    b.finish(name, outputs.map(|(i, node)| (format!("out{i}"), node)).collect())
}

fn tensors(list: &Json) -> Vec<Tensor> {
    list.as_array().expect("a list").iter().map(tensor).collect()
}

fn agrees<E: Executor>(executor: &E, tolerance: f64) {
    let json = reference("layers.json");
    let cases = json.as_object().expect("cases by name");
    assert!(cases.len() >= 14);
    for (name, case) in cases {
        let (inputs, weights) = (tensors(&case["inputs"]), tensor(&case["weights"]));
        let function = program(name, &inputs, &weights);
        let results = outputs(executor, &function, &[inputs, vec![weights]].concat());
        let wanted = [vec![tensor(&case["y"])], tensors(&case["first"]), tensors(&case["second"])].concat();
        assert_eq!(results.len(), wanted.len());
        for (i, (found, wanted)) in results.iter().zip(&wanted).enumerate() {
            assert_eq!(found.dims(), wanted.dims(), "{name}, output {i}");
            for (x, y) in found.data().iter().zip(wanted.data()) {
                assert!((x - y).abs() <= tolerance * (1.0 + y.abs()), "{name}, output {i}: {x} for {y}");
            }
        }
    }
}

#[test]
fn in_double_precision() {
    agrees(&Exact::<f64>::new(Path::detect()), 1e-10);
    agrees(&Reference::new(Precision::F64), 1e-10);
}

#[test]
fn in_single_precision() {
    agrees(&Exact::<f32>::new(Path::detect()), 2e-5);
}

#[test]
fn a_function_of_the_file_comes_before_a_layer_of_the_library() {
    const TEXT: &str = "
edition 2026
experiment own
dim d = 3
tasks lines { example { x: [d] ~ normal; y: [] = sum(x) } }
fn linear(x: [d]) -> [] { sum(x) }
model net(x: [d]) -> [] {
  param w: [d] = 0
  let total = linear(w * x)
  total
}
train {
  tasks = fresh(lines, 1)
  split = { support: 1, query: 1 }
  loss = squared
  adapt = none
  outer = mean
  update = sgd(rate: 0.1)
  steps = 1
}
measure size = sum(w)
";
    let plan = compile(TEXT, &[]);
    let names: Vec<&str> = plan.arms[0].model.params.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["w"]);
}
