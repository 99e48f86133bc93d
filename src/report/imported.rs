//! A run of another program read whole.

use crate::hash::{Id, Kind};
use crate::ledger::{Imported, LedgerError, Series, Store};

/// A run of another program with everything that is shown of it.
#[derive(Debug, Clone)]
pub struct ImportedRecord {
    /// The run's id.
    pub id: Id,
    /// The run.
    pub run: Imported,
    /// Every measure with its points.
    pub series: Vec<(String, Vec<(u64, f64)>)>,
}

impl ImportedRecord {
    /// Reads a run of another program; every object is hashed on the way.
    pub fn read(store: &Store, id: Id) -> Result<ImportedRecord, LedgerError> {
        let run: Imported = store.get(Kind::Imported, id)?;
        let mut series = Vec::new();
        for named in &run.series {
            let object: Series = store.get(Kind::Series, named.id)?;
            let values = object.values();
            series.push((named.measure.clone(), object.steps.into_iter().zip(values).collect()));
        }
        Ok(ImportedRecord { id, run, series })
    }

    /// How long the run took, in seconds; 0 where nobody knows.
    pub fn seconds(&self) -> f64 {
        self.run.finished_ms.saturating_sub(self.run.started_ms) as f64 / 1000.0
    }
}
