//! Streams one large object into a ledger, twice, and verifies it: memory, speed, and what the second time adds.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark reads the clock and prints what it saw"
)]

use std::io::Read;
use std::time::Instant;

use metadsl::ledger::Store;

/// Bytes that no compressor shortens, with a change in the middle where `changed` says so.
struct Noise {
    xof: blake3::OutputReader,
    left: u64,
    change: Option<u64>,
}

impl Noise {
    fn new(length: u64, changed: bool) -> Noise {
        Noise { xof: blake3::Hasher::new().finalize_xof(), left: length, change: changed.then_some(length / 2) }
    }
}

impl Read for Noise {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let length = (out.len() as u64).min(self.left) as usize;
        self.xof.fill(&mut out[..length]);
        if self.change.is_some_and(|at| at >= self.left) && length > 0 {
            self.change = None;
            out[0] ^= 1;
        }
        self.left -= length as u64;
        Ok(length)
    }
}

fn peak_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = |line: &str| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok();
    status.lines().find_map(kib).map(|kib| kib >> 10)
}

/// The processor time of this process, in seconds.
fn processor() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    // utime and stime, in hundredths.
    Some((fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?) / 100.0)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, root, gib] = &args[..] else { return Err("usage: ledger_large DIR GIB".into()) };
    let length = gib.parse::<u64>()? << 30;
    let store = Store::open_or_create(root)?;
    let speed = |start: Instant| length as f64 / 1e9 / start.elapsed().as_secs_f64();
    let size = || -> std::io::Result<u64> {
        let mut sum = 0;
        for shard in std::fs::read_dir(store.root().join("objects"))? {
            for file in std::fs::read_dir(shard?.path())? {
                sum += file?.metadata()?.len();
            }
        }
        Ok(sum)
    };
    let start = Instant::now();
    store.put_stream(Noise::new(length, false))?;
    println!("put {gib} GiB: {:.2} GB/s, peak memory {} MiB", speed(start), peak_mib().unwrap_or(0));
    let before = size()?;
    let start = Instant::now();
    store.put_stream(Noise::new(length, true))?;
    let added = size()? - before;
    println!("put it again, one byte changed: {:.2} GB/s, {:.1} MB added", speed(start), added as f64 / 1e6);
    // Every chunk once, and the bytes of both objects through the hash that names them.
    let (start, before) = (Instant::now(), processor());
    let report = store.verify();
    let gigabytes = report.bytes as f64 / 1e9;
    let of_processor = processor().zip(before).map_or(f64::NAN, |(after, before)| gigabytes / (after - before));
    println!(
        "verify: {:.2} GB/s on the clock, {of_processor:.2} GB/s of processor time, exit code {}, peak memory {} MiB",
        gigabytes / start.elapsed().as_secs_f64(),
        report.exit_code(),
        peak_mib().unwrap_or(0)
    );
    Ok(())
}
