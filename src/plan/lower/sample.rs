//! Programs that make values: world, initial parameters, tasks, episodes, examples.

use super::{Input, LowerError, Part, Ports, Program, TaskPrograms, batch};
use crate::ir::{Function, NodeId};
use crate::plan::types::{Arm, Family, Sampler, TaskSource};

/// A sampler that runs once per seed: its inputs are world values and draws.
pub(super) fn once(arm: &Arm, sampler: &Sampler, name: &str) -> Program {
    let mut ports = Ports::new();
    let args: Vec<NodeId> = args(sampler, |port, dims, draw| match draw {
        Some(i) => ports.get(Input::Draw(i), port, dims),
        None => ports.world(arm, port).expect("a sampler reads the world and its own draws"),
    });
    let outputs = ports.b.inline(&sampler.function, &args);
    ports.finish(name, named(&sampler.function, "", outputs))
}

/// The nodes of a sampler's inputs, each found by name; draws come with their position.
fn args(sampler: &Sampler, mut find: impl FnMut(&str, &[usize], Option<usize>) -> NodeId) -> Vec<NodeId> {
    let f = &sampler.function;
    f.inputs
        .iter()
        .map(|p| find(&p.name, f.dims(p.node), sampler.draws.iter().position(|d| d.name == p.name)))
        .collect()
}

fn named(function: &Function, prefix: &str, nodes: Vec<NodeId>) -> Vec<(String, NodeId)> {
    function.outputs.iter().zip(nodes).map(|(p, n)| (format!("{prefix}{}", p.name), n)).collect()
}

/// The programs that make the tasks of a source.
pub(super) fn tasks(
    arm: &Arm,
    family: &Family,
    source: &TaskSource,
    (support, query): (Part, Part),
) -> Result<TaskPrograms, LowerError> {
    let strata = match source {
        TaskSource::Fresh { count, .. } => {
            let strata = family.strata.iter().map(|s| stratum(arm, &s.name, &s.task, *count as usize));
            strata.collect::<Result<_, _>>()?
        }
        TaskSource::Pool { strata, .. } => strata
            .iter()
            .map(|s| {
                let found =
                    family.stratum(&s.name).ok_or_else(|| LowerError::Dangling(format!("stratum `{}`", s.name)))?;
                stratum(arm, &s.name, &found.task, s.count as usize)
            })
            .collect::<Result<_, _>>()?,
    };
    let draws = family.source.is_none() && (!family.episode.is_empty() || support.size + query.size > 0);
    let visit = draws.then(|| visit(arm, family, source.per_step(), support, query)).transpose()?;
    Ok(TaskPrograms { strata, visit, support, query })
}

/// The variables of `count` tasks of one stratum.
fn stratum(arm: &Arm, name: &str, sampler: &Sampler, count: usize) -> Result<Program, LowerError> {
    let mut one = Ports::new();
    let args = args(sampler, |port, dims, draw| match draw {
        Some(i) => one.get(Input::Draw(i), port, dims),
        None if port == "index" => one.get(Input::Index, port, dims),
        None => one.world(arm, port).expect("a task reads the world, its index and its own draws"),
    });
    let outputs = one.b.inline(&sampler.function, &args);
    let one = one.finish(name, named(&sampler.function, "", outputs));
    let mut all = Ports::new();
    let outputs = all.batch(&one, count, |i| !matches!(i, Input::World(_)))?;
    let outputs = named(&sampler.function, "", outputs);
    Ok(all.finish(&format!("tasks.{}.{name}", count), outputs))
}

/// One visit of `tasks` tasks. Outputs: the episode's variables, the support variables, the query variables.
fn visit(arm: &Arm, family: &Family, tasks: usize, support: Part, query: Part) -> Result<Program, LowerError> {
    let mut one = Ports::new();
    let mut values: Vec<(String, NodeId)> = Vec::new();
    let task_outputs = &family.strata[0].task.function;
    let episode_args = args(&family.episode, |port, dims, draw| match draw {
        Some(i) => one.get(Input::EpisodeDraw(i), port, dims),
        None => latent(&mut one, arm, task_outputs, &[], port),
    });
    let episode = one.b.inline(&family.episode.function, &episode_args);
    let episode = named(&family.episode.function, "", episode);
    values.extend(episode.iter().cloned());
    for (part, prefix, is_support) in [(support, "support.", true), (query, "query.", false)] {
        if part.size == 0 {
            continue;
        }
        let f = &family.example.function;
        let mut mapped = Vec::new();
        let example_args = args(&family.example, |port, dims, draw| {
            mapped.push(draw.is_some());
            match draw {
                Some(i) => {
                    let input = if is_support { Input::SupportDraw(i) } else { Input::QueryDraw(i) };
                    one.get(input, &format!("{prefix}{port}"), &[&[part.size], dims].concat())
                }
                None => latent(&mut one, arm, task_outputs, &episode, port),
            }
        });
        let examples = batch(&mut one.b, f, &example_args, &mapped, part.size, None)?;
        values.extend(named(f, prefix, examples));
    }
    let names: Vec<String> = values.iter().map(|(n, _)| n.clone()).collect();
    let one = one.finish("visit", values);
    let mut all = Ports::new();
    let outputs = all.batch(&one, tasks, |i| !matches!(i, Input::World(_)))?;
    Ok(all.finish("visit", names.into_iter().zip(outputs).collect()))
}

/// A variable of the world, the task or the episode.
fn latent(ports: &mut Ports, arm: &Arm, task: &Function, episode: &[(String, NodeId)], name: &str) -> NodeId {
    if let Some((_, node)) = episode.iter().find(|(n, _)| n == name) {
        return *node;
    }
    if let Some(i) = task.outputs.iter().position(|p| p.name == name) {
        let dims = task.dims(task.outputs[i].node).to_vec();
        return ports.get(Input::Latent(i), name, &dims);
    }
    ports.world(arm, name).expect("an example reads the world, its task and its episode")
}

/// The names and shapes of the variables of one example, in the order of [`Input::Support`] and [`Input::Query`].
pub(super) fn example_slots(family: &Family) -> Vec<(String, Vec<usize>)> {
    match &family.source {
        Some(source) => source.example.iter().map(|s| (s.name.clone(), s.dims.clone())).collect(),
        None => outputs(&family.example.function),
    }
}

/// The names and shapes of the variables of a task and its episode, in the order of [`Input::Latent`].
pub(super) fn latent_slots(family: &Family) -> Vec<(String, Vec<usize>)> {
    [outputs(&family.strata[0].task.function), outputs(&family.episode.function)].concat()
}

fn outputs(f: &Function) -> Vec<(String, Vec<usize>)> {
    f.outputs.iter().map(|p| (p.name.clone(), f.dims(p.node).to_vec())).collect()
}
