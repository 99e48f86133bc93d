//! Golden bits: a digest of what every operation gives. A change of one bit here raises `EPOCH`.

use super::*;
use crate::catalog::operator;
use crate::exec::testing::{noise, program, wild};
use crate::hash::{Id, Kind};
use crate::ir::{Binary, Builder, Compare, NodeId, Unary, batch};

type Body = Box<dyn Fn(&mut Builder, &[NodeId]) -> NodeId>;

/// Every operation with the dims of its operands.
fn operations() -> Vec<(&'static str, Vec<Vec<usize>>, Body)> {
    let mut list: Vec<(&'static str, Vec<Vec<usize>>, Body)> = Vec::new();
    let long = vec![1543];
    use Unary::*;
    for (name, f) in [
        ("neg", Neg),
        ("abs", Abs),
        ("exp", Exp),
        ("ln", Ln),
        ("sqrt", Sqrt),
        ("sin", Sin),
        ("cos", Cos),
        ("tanh", Tanh),
        ("erf", Erf),
    ] {
        list.push((name, vec![long.clone()], Box::new(move |b, x| b.unary(f, x[0]))));
    }
    use Binary::*;
    for (name, f) in [("add", Add), ("sub", Sub), ("mul", Mul), ("div", Div), ("max", Max), ("min", Min)] {
        list.push((name, vec![long.clone(); 2], Box::new(move |b, x| b.binary(f, x[0], x[1]))));
    }
    for (name, f) in [("lt", Compare::Lt), ("le", Compare::Le), ("eq", Compare::Eq)] {
        list.push((name, vec![long.clone(); 2], Box::new(move |b, x| b.compare(f, x[0], x[1]))));
    }
    list.push(("select", vec![long.clone(); 3], Box::new(|b, x| b.select(x[0], x[1], x[2]))));
    let dims = vec![vec![7, 131, 19]];
    for (name, axis) in [("sum of axis 0", 0), ("sum of axis 1", 1), ("sum of axis 2", 2)] {
        list.push((name, dims.clone(), Box::new(move |b, x| b.sum(x[0], axis))));
    }
    list.push(("sum of one axis", vec![vec![3, 1543]], Box::new(|b, x| b.sum(x[0], 1))));
    list.push(("maximum", dims.clone(), Box::new(|b, x| b.reduce_max(x[0], 1))));
    for (name, a, c, turned) in [
        ("matmul, small", vec![5, 10, 40], vec![5, 40, 40], (false, false)),
        ("matmul, both turned", vec![2, 33, 21], vec![2, 50, 33], (true, true)),
        ("matmul, large", vec![1, 130, 300], vec![1, 300, 257], (false, false)),
        ("matmul, one column", vec![3, 70, 90], vec![3, 90, 1], (false, false)),
        ("matmul, one row", vec![3, 1, 90], vec![3, 90, 70], (false, false)),
    ] {
        list.push((name, vec![a, c], Box::new(move |b, x| b.matmul(x[0], x[1], turned.0, turned.1))));
    }
    let solve: Body = Box::new(|b, x| {
        let gram = b.matmul(x[0], x[0], true, false);
        b.solve_spd(gram, x[1])
    });
    list.push(("solve_spd", vec![vec![3, 23, 9], vec![3, 9, 4]], solve));
    list.push(("pad", dims.clone(), Box::new(|b, x| b.pad(x[0], 1, 2, 3))));
    let windows = vec![vec![3, 30, 4, 9]];
    list.push(("window", dims.clone(), Box::new(|b, x| b.window(x[0], 1, 5, 3, 2))));
    list.push(("fold of rows", windows.clone(), Box::new(|b, x| b.fold(x[0], 1, 70, 2, 3))));
    list.push(("fold of entries", windows, Box::new(|b, x| b.fold(x[0], 2, 12, 1, 1))));
    list.push(("gather", vec![vec![3, 2, 7], vec![3, 40]], Box::new(|b, x| b.gather(x[0], x[1], 1))));
    list.push(("scatter", vec![vec![3, 40], vec![3, 40, 7]], Box::new(|b, x| b.scatter(x[0], x[1], 1, 2))));
    let images = vec![vec![2, 5, 6, 7], vec![18, 5, 3, 3]];
    let conv: Body = Box::new(|b, x| {
        let image = program(&[&[5, 6, 7], &[18, 5, 3, 3]], |b, x| {
            let over = [operator::Windows { size: 3, stride: 1, dilation: 1, padding: 1 }; 2];
            let map = operator::conv(b, x[0], x[1], &over, 1);
            vec![operator::pool(
                b,
                map,
                &[operator::Windows { size: 2, stride: 2, dilation: 1, padding: 0 }; 2],
                operator::Pool::Max,
            )]
        });
        batch(b, &image, x, &[true, false], 2)[0]
    });
    list.push(("convolution", images, conv));
    for (name, axis) in [("sum of four rows", 1), ("sum of three entries", 2)] {
        let sum: Body = Box::new(move |b, x| {
            let exp = b.unary(Exp, x[0]);
            b.sum(exp, axis)
        });
        list.push((name, vec![vec![5, 4, 3]], sum));
    }
    list.push(("permute", dims, Box::new(|b, x| b.permute(x[0], &[2, 0, 1]))));
    list
}

fn digest<T: Vectors>(dims: &[Vec<usize>], body: &Body) -> String
where
    Exact<T>: Executor,
{
    let shapes: Vec<&[usize]> = dims.iter().map(Vec::as_slice).collect();
    let function = program(&shapes, |b, x| vec![body(b, x)]);
    let mut bytes = Vec::new();
    for values in [noise, wild] {
        let args: Vec<Tensor> = shapes.iter().zip(11..).map(|(dims, seed)| values(dims, seed)).collect();
        // `run` compares all paths, fused or not, on 1, 2 and 7 threads.
        bits(&run::<T>(&function, &args)).concat().iter().for_each(|word| bytes.extend(word.to_le_bytes()));
    }
    Id::of_bytes(Kind::Trace, &bytes).to_string()[..16].to_owned()
}

#[test]
fn the_bits_of_every_operation() {
    let mut table = String::new();
    for (name, dims, body) in operations() {
        let (narrow, wide) = (digest::<f32>(&dims, &body), digest::<f64>(&dims, &body));
        table.push_str(&format!("{name:20} {narrow} {wide}\n"));
    }
    insta::assert_snapshot!("operations", table);
}
