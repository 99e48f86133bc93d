//! What a stored object refers to, by kind: the edges that sealing and verifying follow.

use super::outcome::{Outcome, Series, Trace, Weights};
use super::record::{Env, Imported, Input, Manifest, Note, Run};
use super::verdict::Comparison;
use crate::exec::Numerics;
use crate::hash::{Canonical, DecodeError, Id, Kind, Value, cbor};

/// The objects that this one refers to, in the order of its fields. All but blobs must exist: a blob is a data file,
/// which the ledger may hold and need not. Refuses a payload that is not what its kind says.
pub(super) fn references(kind: Kind, payload: &[u8]) -> Result<Vec<(Kind, Id)>, DecodeError> {
    match kind {
        Kind::Blob => Ok(Vec::new()),
        Kind::Source => leaf::<String>(payload),
        Kind::Manifest => {
            let manifest: Manifest = read(payload)?;
            Ok(manifest.files.into_iter().map(|file| (Kind::Blob, file.blob)).collect())
        }
        Kind::Numerics => leaf::<Numerics>(payload),
        Kind::Env => leaf::<Env>(payload),
        Kind::Series => leaf::<Series>(payload),
        Kind::Trace => leaf::<Trace>(payload),
        Kind::Weights => leaf::<Weights>(payload),
        // A plan of another edition is still a plan, so its fields are not asked for.
        Kind::Plan => leaf::<Value>(payload),
        Kind::Input => {
            let input: Input = read(payload)?;
            Ok(vec![(Kind::Plan, input.plan), (Kind::Manifest, input.manifest), (Kind::Numerics, input.numerics)])
        }
        Kind::Note => leaf::<Note>(payload),
        // Only their ids are used.
        Kind::Arm | Kind::Cell => leaf::<Value>(payload),
        Kind::Imported => {
            let imported: Imported = read(payload)?;
            Ok(imported.series.into_iter().map(|series| (Kind::Series, series.id)).collect())
        }
        Kind::Result => read(payload).map(of_outcome),
        Kind::Run => read(payload).map(|run| of_run(&run)),
        Kind::Verdict => {
            let comparison: Comparison = read(payload)?;
            Ok(vec![(Kind::Result, comparison.old), (Kind::Result, comparison.new)])
        }
    }
}

/// Whether objects of this kind refer to others.
pub(super) fn has_references(kind: Kind) -> bool {
    matches!(kind, Kind::Manifest | Kind::Input | Kind::Result | Kind::Run | Kind::Verdict | Kind::Imported)
}

/// The object that a payload encodes.
pub(super) fn read<T: Canonical>(payload: &[u8]) -> Result<T, DecodeError> {
    let value = cbor::decode(payload).map_err(|e| DecodeError::new(e.to_string()))?;
    T::from_value(&value)
}

fn leaf<T: Canonical>(payload: &[u8]) -> Result<Vec<(Kind, Id)>, DecodeError> {
    read::<T>(payload).map(|_| Vec::new())
}

/// The objects a run refers to: input, result, env, source.
pub(super) fn of_run(run: &Run) -> Vec<(Kind, Id)> {
    let known = [(Kind::Input, run.input), (Kind::Result, run.result), (Kind::Env, run.env)];
    known.into_iter().chain(run.source.map(|id| (Kind::Source, id))).collect()
}

fn of_outcome(outcome: Outcome) -> Vec<(Kind, Id)> {
    let mut found = vec![(Kind::Input, outcome.input)];
    for cell in outcome.cells {
        found.extend(cell.series.into_iter().map(|s| (Kind::Series, s.id)));
        found.extend([(Kind::Trace, cell.trace), (Kind::Weights, cell.weights)]);
    }
    found
}
