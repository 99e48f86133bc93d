//! MLflow's sqlite store.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, Row};

use super::mlflow::status;
use super::{Foreign, Found};
use crate::cli::failure::Failure;

/// Reads the runs of a file such as `mlflow.db`; nothing is written to it.
pub(super) fn read(path: &Path) -> Result<Found, Failure> {
    runs(path).map_err(|e| Failure::Usage(format!("`{}` cannot be read as MLflow's sqlite store: {e}", path.display())))
}

fn runs(path: &Path) -> Result<Found, rusqlite::Error> {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut query = db.prepare(
        "select r.run_uuid, e.name, r.status, coalesce(r.start_time, 0), coalesce(r.end_time, 0) \
         from runs r join experiments e on e.experiment_id = r.experiment_id \
         where r.lifecycle_stage = 'active' order by r.start_time, r.run_uuid",
    )?;
    let run = |row: &Row| {
        let moment = |ms: i64| u64::try_from(ms).unwrap_or(0);
        Ok(Foreign {
            name: row.get(0)?,
            experiment: row.get(1)?,
            status: status(&row.get::<_, String>(2)?),
            started_ms: moment(row.get(3)?),
            finished_ms: moment(row.get(4)?),
            ..Foreign::default()
        })
    };
    let mut found = Found { runs: query.query_map([], run)?.collect::<Result<_, _>>()?, skipped: Vec::new() };
    let mut params = db.prepare("select key, value from params where run_uuid = ?1")?;
    let mut metrics =
        db.prepare("select key, value, step, is_nan from metrics where run_uuid = ?1 order by timestamp, rowid")?;
    for run in &mut found.runs {
        let settings = params.query_map([&run.name], |row| Ok((row.get(0)?, row.get(1)?)))?;
        run.settings = settings.collect::<Result<_, _>>()?;
        let points = metrics.query_map([&run.name], |row| {
            // NaN is stored as 0 with a flag.
            let value = if row.get(3)? { f64::NAN } else { row.get(1)? };
            Ok((row.get::<_, String>(0)?, row.get::<_, i64>(2)?, value))
        })?;
        for point in points {
            let (measure, step, value) = point?;
            match u64::try_from(step) {
                Ok(step) => run.series.entry(measure).or_default().push((step, value)),
                Err(_) => found.skipped.push(format!("run {}: `{measure}` at step {step}; skipped", run.name)),
            }
        }
    }
    Ok(found)
}
