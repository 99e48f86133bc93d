//! The closest known name to a misspelt one.

use strsim::{damerau_levenshtein, jaro_winkler};

/// The name of `known` that `wrong` was probably meant to be, if one is close enough to be worth a question.
///
/// A name that differs in letter case alone wins. Otherwise at most a third of the letters may differ (Damerau-Levenshtein:
/// a swap counts once), or the names share their beginning (Jaro-Winkler at least 0.9). Among equals the first wins.
pub fn closest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A distance takes the product of the lengths; no name of the language is this long.
    const LONGEST: usize = 64;
    let lower = wrong.to_lowercase();
    let length = lower.chars().count();
    let mut best: Option<(usize, f64, &str)> = None;
    for name in known {
        let candidate = name.to_lowercase();
        if candidate == lower {
            return Some(name);
        }
        if length == 0 || length > LONGEST || candidate.chars().count() > LONGEST {
            continue;
        }
        let distance = damerau_levenshtein(&lower, &candidate);
        let likeness = jaro_winkler(&lower, &candidate);
        let allowed = (length.max(candidate.chars().count()) / 3).max(usize::from(length > 2));
        if distance > allowed && likeness < 0.9 {
            continue;
        }
        let better = best.is_none_or(|(d, l, _)| distance < d || distance == d && likeness > l);
        if better {
            best = Some((distance, likeness, name));
        }
    }
    best.map(|(_, _, name)| name)
}

#[cfg(test)]
mod tests {
    use super::closest;

    const KNOWN: [&str; 6] = ["train", "tasks", "measure", "model", "support", "Cauchy"];

    #[test]
    fn a_slip_of_the_pen_is_found() {
        for (wrong, meant) in
            [("trian", "train"), ("measur", "measure"), ("suport", "support"), ("cauchy", "Cauchy"), ("task", "tasks")]
        {
            assert_eq!(closest(wrong, KNOWN), Some(meant), "{wrong}");
        }
    }

    #[test]
    fn an_unrelated_word_is_not() {
        for wrong in ["", "x", "learning_rate", "zzz", "w"] {
            assert_eq!(closest(wrong, KNOWN), None, "{wrong}");
        }
        assert_eq!(closest(&"train".repeat(1000), KNOWN), None);
    }

    #[test]
    fn the_nearest_wins_and_then_the_first() {
        assert_eq!(closest("heat", ["heap", "head"]), Some("heap"));
        assert_eq!(closest("stepps", ["stems", "steps"]), Some("steps"));
    }
}
