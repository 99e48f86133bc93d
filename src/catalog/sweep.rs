//! The values that a sweep gives to what it varies.

use super::entry::{Entry, Initial, Kind, Param, Ty};

const COUNT: Param = Param::optional("count", Ty::Count(2), Initial::Absent, "how many values, both ends included");

pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        name: "lin",
        kind: Kind::Sweep,
        params: &[
            Param::required("low", Ty::REAL, "the first value"),
            Param::required("high", Ty::REAL, "the last value"),
            COUNT,
        ],
        doc: "Numbers at equal distances, both ends included. Within `random`, without `count`: uniform between the ends.",
        example: "sweep train.adapt.rate in lin(0.1, 0.5, 5)",
    },
    Entry {
        name: "log",
        kind: Kind::Sweep,
        params: &[
            Param::required("low", Ty::POSITIVE, "the first value"),
            Param::required("high", Ty::POSITIVE, "the last value"),
            COUNT,
        ],
        doc: "Numbers at equal ratios, both ends included, to twelve digits. Within `random`, without `count`: uniform in the \
              logarithm between the ends.",
        example: "sweep train.adapt.rate in log(1e-3, 1, 4)",
    },
    Entry {
        name: "zip",
        kind: Kind::Sweep,
        params: &[Param::required("sets", Ty::Values, "a list with the values of each path in turn")],
        doc: "Paths that vary together: the first values of all, then the second values, and so on. The same points can be listed \
              as `sweep [d, k] in [[10, 1], [20, 2]]`.",
        example: "sweep [train.adapt.rate, train.steps] in zip([lin(0.1, 0.3, 3), [10, 20, 30]])",
    },
    Entry {
        name: "random",
        kind: Kind::Sweep,
        params: &[
            Param::required("count", Ty::Count(1), "how many points are drawn"),
            Param::required("seed", Ty::Count(0), "what they are drawn from; not the seed of a run"),
            Param::required(
                "of",
                Ty::Values,
                "the values of the path; of several paths, a list with those of each in turn",
            ),
        ],
        doc: "Points drawn independently: from `lin(low, high)` or `log(low, high)` any number between the ends, from a list or \
              a range one of its values. A point that is drawn again is taken once.",
        example: "sweep train.adapt.rate in random(3, seed: 7, of: log(1e-3, 1))",
    },
];
