//! The command line: the one place that prints, and that reads the clock and the environment.

#![allow(clippy::disallowed_methods, reason = "clock and environment are read here and nowhere else")]

mod admission;
mod args;
mod bench;
mod bundle;
mod catalog;
mod check;
mod choices;
mod cost;
mod data;
mod device;
mod diff;
mod execute;
mod explain;
mod export;
mod export_model;
mod failure;
mod fmt;
mod freeze;
mod gc;
mod import;
mod imports;
mod load;
mod log;
mod memory;
mod needs;
mod new;
mod note;
#[cfg(feature = "parquet")]
mod parquet;
mod plan;
mod progress;
mod read;
mod record;
mod remote;
mod replay;
mod report;
mod resume;
mod rewrite;
mod run;
mod show;
mod sign;
mod table;
mod trace;
mod verify;
mod watch;
mod whereabouts;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command};
pub use failure::Failure;

/// Runs the command line of this process; gives its exit code.
pub fn main() -> ExitCode {
    let args = Args::parse();
    let done = match &args.command {
        Command::Check(options) => check::check(options),
        Command::New(options) => new::new(options),
        Command::Fmt(options) => fmt::fmt(options),
        Command::Freeze(options) => freeze::freeze(options),
        Command::Catalog(options) => catalog::catalog(options),
        Command::Explain(options) => explain::explain(options),
        Command::Plan(options) => plan::plan(options),
        Command::Data(options) => data::data(options),
        Command::Bench(options) => bench::bench(options),
        Command::Run(options) => run::run(options),
        Command::Replay(options) => replay::replay(options),
        Command::Resume(options) => resume::resume(options),
        Command::Log(options) => log::log(options),
        Command::Tag(options) => note::tag(options),
        Command::Note(options) => note::note(options),
        Command::Show(options) => show::show(options),
        Command::Diff(options) => diff::diff(options),
        Command::Export(options) => export::export(options),
        Command::Import(options) => imports::import(options),
        Command::Report(options) => report::report(options),
        Command::Watch(options) => watch::watch(options),
        Command::Verify(options) => verify::verify(options),
        Command::Gc(options) => gc::gc(options),
        Command::Bundle(options) => bundle::bundle(options),
        Command::Sign(options) => sign::sign(options),
        Command::Push(options) => remote::push(options),
        Command::Pull(options) => remote::pull(options),
    };
    match done {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}
