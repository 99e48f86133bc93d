//! Axes: linear or logarithmic, with ticks at round numbers.

/// One axis of a plot.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    log: bool,
    /// Where a label stands, and the label; from low to high.
    pub ticks: Vec<(f64, String)>,
}

/// Positive values whose largest is this many times the least that matters are shown on a logarithmic axis.
const DECADES: f64 = 30.0;

impl Axis {
    /// An axis on which all these values fit, with some `wanted` ticks. It is logarithmic where they are positive and
    /// `least`, the smallest value that matters, lies more than a decade and a half below the largest. Values that are not
    /// finite are ignored.
    pub fn fitting(values: impl Iterator<Item = f64>, least: f64, wanted: usize) -> Axis {
        let (low, high) = extent(values);
        if low > 0.0 && high / least > DECADES { Axis::log(low, high, wanted) } else { Axis::linear(low, high, wanted) }
    }

    /// A linear axis on which all these values fit.
    pub fn plain(values: impl Iterator<Item = f64>, wanted: usize) -> Axis {
        let (low, high) = extent(values);
        Axis::linear(low, high, wanted)
    }

    /// A linear axis that ends at these very values: for steps.
    pub fn exact(values: impl Iterator<Item = f64>, wanted: usize) -> Axis {
        let (low, high) = extent(values);
        let high = if high > low { high } else { low + 1.0 };
        Axis { low, high, log: false, ticks: linear_ticks(low, high, wanted) }
    }

    fn linear(low: f64, high: f64, wanted: usize) -> Axis {
        let room = if high > low { 0.05 * (high - low) } else { (0.1 * high.abs()).max(1e-9) };
        // An axis that almost reaches zero is more honest with it.
        let (from, to) = (if low >= 0.0 && low < 0.3 * high { 0.0 } else { low - room }, high + room);
        Axis { low: from, high: to, log: false, ticks: linear_ticks(from, to, wanted) }
    }

    fn log(low: f64, high: f64, wanted: usize) -> Axis {
        let (from, to) = (libm::log10(low), libm::log10(high));
        let room = 0.05 * (to - from);
        let (first, last) = ((from - room).ceil() as i32, (to + room).floor() as i32);
        let decades = (last - first + 1).max(0) as usize;
        let stride = decades.div_ceil(wanted + 1).max(1);
        // Few decades: 2 and 5 are labelled as well.
        let mantissas: &[f64] = if decades < 3 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let mut ticks = Vec::new();
        for exponent in (first - 1..=last).filter(|e| (e - first).rem_euclid(stride as i32) == 0) {
            for &m in mantissas {
                let value = m * libm::exp10(f64::from(exponent));
                let place = libm::log10(value);
                if place >= from - room && place <= to + room {
                    ticks.push((value, power_label(m, exponent)));
                }
            }
        }
        Axis { low: libm::exp10(from - room), high: libm::exp10(to + room), log: true, ticks }
    }

    /// Whether it is logarithmic.
    pub fn is_log(&self) -> bool {
        self.log
    }

    /// Where a value lies: 0 at the low end, 1 at the high end, beyond them for what lies outside.
    pub fn place(&self, x: f64) -> f64 {
        if self.log {
            let (from, to) = (libm::log10(self.low), libm::log10(self.high));
            // A value that has no logarithm lies below every axis.
            if x > 0.0 { (libm::log10(x) - from) / (to - from) } else { -1.0 }
        } else {
            (x - self.low) / (self.high - self.low)
        }
    }
}

/// The least and the most of the finite values; 0 and 1 where there are none.
fn extent(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values
        .filter(|x| x.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
    if low <= high { (low, high) } else { (0.0, 1.0) }
}

/// Multiples of 1, 2, 2.5 or 5 times a power of ten, the step that comes closest to `wanted` ticks.
fn linear_ticks(low: f64, high: f64, wanted: usize) -> Vec<(f64, String)> {
    let raw = (high - low) / wanted as f64;
    let exponent = libm::log10(raw).floor();
    let power = libm::exp10(exponent);
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|m| m * power).into_iter().find(|s| *s >= raw * 0.999).unwrap_or(raw);
    let digits = (if step / power == 2.5 { 1.0 - exponent } else { -libm::log10(step).floor() }).max(0.0) as usize;
    let first = (low / step - 1e-9).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last).map(|i| i as f64 * step).map(|x| (x, linear_label(x, digits))).collect()
}

fn linear_label(x: f64, digits: usize) -> String {
    match x.abs() {
        0.0 => "0".to_owned(),
        size if size >= 1e6 => format!("{}M", short(x / 1e6)),
        size if size >= 1e4 => format!("{}k", short(x / 1e3)),
        _ if digits > 5 => format!("{x:.1e}"),
        _ => format!("{x:.digits$}").replace('-', "\u{2212}"),
    }
}

/// Up to two decimals, without trailing zeros.
fn short(x: f64) -> String {
    format!("{}", (x * 100.0).round() / 100.0)
}

/// `0.1`, `1`, `10`, or `10⁻⁴` where a plain number has many zeros.
fn power_label(mantissa: f64, exponent: i32) -> String {
    if (-2..=3).contains(&exponent) {
        let digits = (-exponent).max(0) as usize;
        return format!("{:.digits$}", mantissa * libm::exp10(f64::from(exponent)));
    }
    const RAISED: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    let sign = if exponent < 0 { "⁻" } else { "" };
    let raised: String =
        exponent.unsigned_abs().to_string().bytes().map(|digit| RAISED[usize::from(digit - b'0')]).collect();
    if mantissa == 1.0 { format!("10{sign}{raised}") } else { format!("{mantissa}·10{sign}{raised}") }
}

#[cfg(test)]
mod tests {
    use super::Axis;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn linear_ticks_are_round_numbers() {
        let axis = Axis::exact([0.0, 2000.0].into_iter(), 5);
        assert_eq!(labels(&axis), ["0", "500", "1000", "1500", "2000"]);
        assert_eq!(labels(&Axis::exact([0.0, 70000.0].into_iter(), 5)), ["0", "20k", "40k", "60k"]);
        let axis = Axis::fitting([0.61, 0.93].into_iter(), 0.61, 5);
        assert_eq!(labels(&axis), ["0.6", "0.7", "0.8", "0.9"]);
        assert!(!axis.is_log());
        // An accuracy that begins low and ends high is shown as it is.
        assert_eq!(labels(&Axis::fitting([0.02, 0.93].into_iter(), 0.93, 5)).first(), Some(&"0"));
    }

    #[test]
    fn decades_get_a_logarithmic_axis() {
        let axis = Axis::fitting([1e-7, 1.0].into_iter(), 1e-7, 5);
        assert!(axis.is_log());
        assert_eq!(labels(&axis), ["10⁻⁷", "10⁻⁵", "10⁻³", "0.1"]);
        assert!(axis.place(1e-7) > 0.0 && axis.place(1.0) < 1.0 && axis.place(0.0) < 0.0);
        assert!(!Axis::fitting([0.0, 1.0].into_iter(), 0.0, 5).is_log());
    }

    #[test]
    fn degenerate_values_have_an_axis() {
        for values in [vec![], vec![3.0], vec![0.0], vec![f64::NAN, f64::INFINITY], vec![-5.0, -5.0]] {
            let axis = Axis::fitting(values.iter().copied(), f64::INFINITY, 5);
            assert!(!axis.ticks.is_empty(), "{values:?}");
            assert!(values.iter().filter(|x| x.is_finite()).all(|&x| (0.0..=1.0).contains(&axis.place(x))));
        }
    }
}
