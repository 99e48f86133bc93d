//! Parameters as predictions read them: every added group is worked into the parameters that it changes.

use crate::exec::{ExecError, Executor};
use crate::ir::Tensor;
use crate::plan::Model;

/// The values of a model's parameters with its added groups merged in, without the parameters that are merged.
pub fn merged<E: Executor>(
    exec: &E,
    model: &Model,
    values: &[(String, Tensor)],
) -> Result<Vec<(String, Tensor)>, ExecError> {
    let mut values = values.to_vec();
    let mut within: Vec<&str> = Vec::new();
    for group in &model.added {
        let compose = &group.compose;
        let place =
            |name: &str| values.iter().position(|(known, _)| known == name).expect("a model has its parameters");
        let args = compose.inputs.iter().map(|port| exec.upload(&values[place(&port.name)].1));
        let args = args.collect::<Result<Vec<_>, _>>()?;
        let changed = exec.run(&exec.compile(compose)?, &args.iter().collect::<Vec<_>>())?;
        let places: Vec<usize> = compose.outputs.iter().map(|port| place(&port.name)).collect();
        for (place, value) in places.into_iter().zip(&changed) {
            values[place].1 = exec.download(value)?;
        }
        let changes = |name: &str| compose.outputs.iter().any(|port| port.name == name);
        within.extend(compose.inputs.iter().map(|port| port.name.as_str()).filter(|name| !changes(name)));
    }
    values.retain(|(name, _)| !within.contains(&name.as_str()));
    Ok(values)
}
