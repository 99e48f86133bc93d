//! Retractions: what brings parameters back to their set after each update.

use super::entry::{Entry, Kind, Param, Ty};
use crate::hash::variants;
use crate::ir::{Binary, Builder, Compare, NodeId, Unary};

variants! {
    /// A map onto a set of tensors.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Retraction {
        /// The orthonormal columns of a matrix's QR decomposition, `R` with a positive diagonal.
        Qr,
        /// The tensor divided by its Euclidean norm.
        Normalise,
        /// The nearest point of the simplex.
        Simplex,
    }
}

/// The most columns that the program of a QR decomposition goes through.
const MAX_COLUMNS: usize = 1024;

/// The most rounds that the program of a projection repeats.
const MAX_CORNERS: usize = 256;

impl Retraction {
    /// The retraction of a checked call.
    pub fn from_args(name: &str) -> Retraction {
        match name {
            "qr" => Retraction::Qr,
            "normalise" => Retraction::Normalise,
            "simplex" => Retraction::Simplex,
            other => unreachable!("`{other}` is not in the table of retractions"),
        }
    }

    /// The name a person reads.
    pub fn name(self) -> &'static str {
        match self {
            Retraction::Qr => "qr",
            Retraction::Normalise => "normalise",
            Retraction::Simplex => "simplex",
        }
    }

    /// Why a parameter of that shape cannot be retracted, if it cannot.
    pub fn refuses(self, dims: &[usize]) -> Option<String> {
        match (self, dims) {
            (Retraction::Qr, [rows, columns]) if rows >= columns && *columns <= MAX_COLUMNS => None,
            (Retraction::Qr, [rows, columns]) if rows >= columns => {
                Some(format!("its program goes column by column, and {MAX_COLUMNS} are the most"))
            }
            (Retraction::Qr, _) => {
                Some("only a matrix with at least as many rows as columns has orthonormal ones".into())
            }
            (Retraction::Normalise, _) => None,
            (Retraction::Simplex, [n]) if *n <= MAX_CORNERS => None,
            (Retraction::Simplex, _) => {
                Some(format!("the simplex is one of vectors, of at most {MAX_CORNERS} numbers"))
            }
        }
    }

    /// The retracted tensor.
    pub fn lower(self, b: &mut Builder, x: NodeId) -> NodeId {
        match self {
            Retraction::Qr => gram_schmidt(b, x),
            Retraction::Normalise => normalise(b, x),
            Retraction::Simplex => simplex(b, x),
        }
    }
}

fn normalise(b: &mut Builder, x: NodeId) -> NodeId {
    let dims = b.dims(x).to_vec();
    let square = b.mul(x, x);
    let square = b.sum_all(square);
    let norm = b.unary(Unary::Sqrt, square);
    let norm = b.expand(norm, &dims);
    b.div(x, norm)
}

/// Column by column, each projected twice ("twice is enough", Giraud et al. 2005).
fn gram_schmidt(b: &mut Builder, x: NodeId) -> NodeId {
    let columns = b.dims(x)[1];
    let mut basis: Option<NodeId> = None;
    for j in 0..columns {
        let mut column = b.slice(x, 1, j, 1);
        if let Some(basis) = basis {
            for _ in 0..2 {
                let along = b.matmul(basis, column, true, false);
                let shadow = b.matmul(basis, along, false, false);
                column = b.sub(column, shadow);
            }
        }
        let column = normalise(b, column);
        let column = b.pad(column, 1, j, columns - j - 1);
        basis = Some(basis.map_or(column, |basis| b.add(basis, column)));
    }
    basis.unwrap_or(x)
}

/// `max(x - t, 0)` with the `t` for which it sums to 1. Each round drops the entries below the `t` of those that are left, which
/// ends after at most as many rounds as there are entries (Michelot 1986).
fn simplex(b: &mut Builder, x: NodeId) -> NodeId {
    let dims = b.dims(x).to_vec();
    let (zeros, one) = (b.full(0.0, &dims), b.constant(1.0));
    let mut left = b.full(1.0, &dims);
    let mut threshold = zeros;
    for _ in 0..dims[0] {
        let values = b.mul(x, left);
        let (total, count) = (b.sum_all(values), b.sum_all(left));
        let above = b.sub(total, one);
        let t = b.div(above, count);
        threshold = b.expand(t, &dims);
        let larger = b.compare(Compare::Lt, threshold, x);
        left = b.select(larger, left, zeros);
    }
    let above = b.sub(x, threshold);
    b.binary(Binary::Max, above, zeros)
}

const ON: Param = Param::required("on", Ty::Groups, "the parameters that are brought back");

pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        name: "none",
        kind: Kind::Retraction,
        params: &[],
        doc: "Parameters stay where the update leaves them.",
        example: "retract = none",
    },
    Entry {
        name: "qr",
        kind: Kind::Retraction,
        params: &[ON],
        doc: "The orthonormal columns of the QR decomposition, with a positive diagonal of R (FedRep's linear case, Collins et al. 2021).",
        example: "retract = qr(B)",
    },
    Entry {
        name: "normalise",
        kind: Kind::Retraction,
        params: &[ON],
        doc: "Each tensor divided by its Euclidean norm.",
        example: "retract = normalise(w)",
    },
    Entry {
        name: "simplex",
        kind: Kind::Retraction,
        params: &[ON],
        doc: "The nearest vector of non-negative numbers that sum to 1 (Michelot 1986).",
        example: "retract = simplex(w)",
    },
];
