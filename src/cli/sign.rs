//! `metadsl sign`.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use super::args::Sign as Options;
use super::failure::Failure;
use super::replay::existing_ledger;
use crate::ledger;

/// Signs how far the ledger's logs have come.
pub fn sign(options: &Options) -> Result<ExitCode, Failure> {
    let store = existing_ledger(&options.ledger.ledger)?;
    if options.new_key {
        write_new_key(&options.key)?;
    }
    let secret = read_secret(&options.key)?;
    let checkpoints: Vec<String> = store.heads()?.iter().map(|head| ledger::sign(head, &secret)).collect();
    let text = checkpoints.join("\n");
    match &options.output {
        Some(path) => std::fs::write(path, text)?,
        None => write!(anstream::stdout(), "{text}")?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The secret key in a file.
pub fn read_secret(path: &Path) -> Result<[u8; 32], Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::Read { path: path.to_owned(), error })?;
    ledger::read_key(&text).ok_or_else(|| {
        let advice = "64 hexadecimal digits are wanted; `metadsl sign --new-key` makes one";
        Failure::Usage(format!("{} is no key: {advice}", path.display()))
    })
}

/// A new key, in a file that nobody else may read.
fn write_new_key(path: &Path) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let secret = ledger::new_secret()?;
    let digits: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let failed = |error| Failure::Read { path: path.to_owned(), error };
    let mut file = options.open(path).map_err(failed)?;
    writeln!(file, "{digits}").map_err(failed)?;
    writeln!(anstream::stderr(), "note: the public key is {}", ledger::public_key(&secret))?;
    Ok(())
}
