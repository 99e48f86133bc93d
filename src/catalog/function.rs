//! Functions in tensor expressions, and the same functions of plain numbers.

use std::f64::consts::FRAC_1_SQRT_2;

use super::entry::{Entry, Kind, Param, Ty};
use super::operator::softmax;
use crate::ir::{Binary, Builder, Compare, NodeId, Unary};

/// A function that maps every entry by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elementwise {
    /// `e^x`
    Exp,
    /// Natural logarithm.
    Ln,
    /// Square root.
    Sqrt,
    /// Sine of radians.
    Sin,
    /// Cosine of radians.
    Cos,
    /// Hyperbolic tangent.
    Tanh,
    /// The error function.
    Erf,
    /// Magnitude.
    Abs,
    /// -1, 0 or 1
    Sign,
    /// `max(x, 0)`
    Relu,
    /// `1 / (1 + e^-x)`
    Sigmoid,
    /// `ln(1 + e^x)`
    Softplus,
    /// `x (1 + erf(x / sqrt 2)) / 2`
    Gelu,
}

/// A function of one tensor, without settings, in a tensor expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TensorFunction {
    /// Keeps the dims.
    Elementwise(Elementwise),
    /// `e^x` normalised over the last dim; keeps the dims.
    Softmax,
    /// The last two dims swapped.
    Transpose,
}

/// A function of numbers, for constants.
pub type ScalarFunction = fn(f64) -> f64;

impl TensorFunction {
    /// The function of that name.
    pub fn find(name: &str) -> Option<TensorFunction> {
        use Elementwise as E;
        Some(match name {
            "exp" => TensorFunction::Elementwise(E::Exp),
            "ln" => TensorFunction::Elementwise(E::Ln),
            "sqrt" => TensorFunction::Elementwise(E::Sqrt),
            "sin" => TensorFunction::Elementwise(E::Sin),
            "cos" => TensorFunction::Elementwise(E::Cos),
            "tanh" => TensorFunction::Elementwise(E::Tanh),
            "erf" => TensorFunction::Elementwise(E::Erf),
            "gelu" => TensorFunction::Elementwise(E::Gelu),
            "abs" => TensorFunction::Elementwise(E::Abs),
            "sign" => TensorFunction::Elementwise(E::Sign),
            "relu" => TensorFunction::Elementwise(E::Relu),
            "sigmoid" => TensorFunction::Elementwise(E::Sigmoid),
            "softplus" => TensorFunction::Elementwise(E::Softplus),
            "softmax" => TensorFunction::Softmax,
            "transpose" => TensorFunction::Transpose,
            _ => return None,
        })
    }

    /// How many dims its argument has at least.
    pub fn least_rank(self) -> usize {
        match self {
            TensorFunction::Elementwise(_) => 0,
            TensorFunction::Softmax => 1,
            TensorFunction::Transpose => 2,
        }
    }

    /// The function applied to a node.
    pub fn lower(self, b: &mut Builder, x: NodeId) -> NodeId {
        match self {
            TensorFunction::Elementwise(f) => f.lower(b, x),
            TensorFunction::Softmax => softmax(b, x),
            TensorFunction::Transpose => b.transpose(x),
        }
    }
}

impl Elementwise {
    fn lower(self, b: &mut Builder, x: NodeId) -> NodeId {
        let dims = b.dims(x).to_vec();
        match self {
            Elementwise::Exp => b.unary(Unary::Exp, x),
            Elementwise::Ln => b.unary(Unary::Ln, x),
            Elementwise::Sqrt => b.unary(Unary::Sqrt, x),
            Elementwise::Sin => b.unary(Unary::Sin, x),
            Elementwise::Cos => b.unary(Unary::Cos, x),
            Elementwise::Tanh => b.unary(Unary::Tanh, x),
            Elementwise::Erf => b.unary(Unary::Erf, x),
            Elementwise::Abs => b.unary(Unary::Abs, x),
            Elementwise::Sign => {
                let zero = b.full(0.0, &dims);
                let (above, below) = (b.compare(Compare::Lt, zero, x), b.compare(Compare::Lt, x, zero));
                b.sub(above, below)
            }
            Elementwise::Relu => {
                let zero = b.full(0.0, &dims);
                b.binary(Binary::Max, x, zero)
            }
            // tanh saturates instead of overflowing, so this form is finite everywhere.
            Elementwise::Sigmoid => {
                let half = b.scale(x, 0.5);
                let tanh = b.unary(Unary::Tanh, half);
                let scaled = b.scale(tanh, 0.5);
                b.offset(scaled, 0.5)
            }
            Elementwise::Gelu => {
                let scaled = b.scale(x, FRAC_1_SQRT_2);
                let erf = b.unary(Unary::Erf, scaled);
                let share = b.offset(erf, 1.0);
                let half = b.scale(x, 0.5);
                b.mul(half, share)
            }
            // max(x, 0) + ln(1 + e^-|x|) with max(x, 0) = (x + |x|) / 2, whose slope at 0 is the right one.
            Elementwise::Softplus => {
                let size = b.unary(Unary::Abs, x);
                let sum = b.add(x, size);
                let rectified = b.scale(sum, 0.5);
                let down = b.neg(size);
                let exp = b.unary(Unary::Exp, down);
                let one = b.offset(exp, 1.0);
                let log = b.unary(Unary::Ln, one);
                b.add(rectified, log)
            }
        }
    }

    /// The same function of a number.
    pub fn of_number(self) -> ScalarFunction {
        match self {
            Elementwise::Exp => libm::exp,
            Elementwise::Ln => libm::log,
            Elementwise::Sqrt => libm::sqrt,
            Elementwise::Sin => libm::sin,
            Elementwise::Cos => libm::cos,
            Elementwise::Tanh => libm::tanh,
            Elementwise::Erf => libm::erf,
            Elementwise::Gelu => |x| 0.5 * x * (1.0 + libm::erf(x * FRAC_1_SQRT_2)),
            Elementwise::Abs => libm::fabs,
            Elementwise::Sign => |x| f64::from(i8::from(x > 0.0) - i8::from(x < 0.0)),
            Elementwise::Relu => |x| if x > 0.0 { x } else { 0.0 },
            Elementwise::Sigmoid => |x| 0.5 * libm::tanh(0.5 * x) + 0.5,
            Elementwise::Softplus => {
                |x| if x > 0.0 { x + libm::log1p(libm::exp(-x)) } else { libm::log1p(libm::exp(x)) }
            }
        }
    }
}

const X: &[Param] = &[Param::required("x", Ty::Tensor, "a tensor")];

const fn function(name: &'static str, doc: &'static str, example: &'static str) -> Entry {
    Entry { name, kind: Kind::Function, params: X, doc, example }
}

pub(super) const ENTRIES: &[Entry] = &[
    function("exp", "The exponential of every entry.", "exp(x)"),
    function("ln", "The natural logarithm of every entry.", "ln(x)"),
    function("sqrt", "The square root of every entry.", "sqrt(x)"),
    function("sin", "The sine of every entry, in radians.", "sin(x)"),
    function("cos", "The cosine of every entry, in radians.", "cos(x)"),
    function("tanh", "The hyperbolic tangent of every entry.", "tanh(x)"),
    function("abs", "The magnitude of every entry; its slope at 0 counts as 0.", "abs(x)"),
    function("sign", "The sign of every entry: -1, 0 or 1; its slope counts as 0.", "sign(x)"),
    function("relu", "The larger of every entry and 0; its slope at 0 counts as 0.", "relu(x)"),
    function("sigmoid", "1 / (1 + e^-x) of every entry.", "sigmoid(x)"),
    function(
        "erf",
        "The error function of every entry: the probability that a normal number of variance 1/2 is within -x and x.",
        "erf(x)",
    ),
    function(
        "gelu",
        "x (1 + erf(x / sqrt(2))) / 2 of every entry (Hendrycks, Gimpel, 2016), exactly and not by tanh.",
        "gelu(x)",
    ),
    function("softplus", "ln(1 + e^x) of every entry.", "softplus(x)"),
    function("softmax", "e^x normalised to sum 1 over the last dim.", "softmax(x)"),
    Entry {
        name: "transpose",
        kind: Kind::Function,
        params: X,
        doc: "The last two dims swapped, so that `transpose(B) @ B` contracts the first dim of a matrix with itself.",
        example: "transpose(B)",
    },
];
