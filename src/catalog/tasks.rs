//! Sources of tasks.

use super::entry::{Entry, Initial, Kind, Param, Ty};
use super::weights::LAW;

pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        name: "fresh",
        kind: Kind::Tasks,
        params: &[
            Param::required("family", Ty::Family, "the family of tasks"),
            Param::required("count", Ty::Count(1), "how many tasks are drawn for a step"),
        ],
        doc: "New tasks at every step, none seen twice. In an evaluation, the same held-out tasks at every measurement.",
        example: "tasks = fresh(linear, 10)",
    },
    Entry {
        name: "pool",
        kind: Kind::Tasks,
        params: &[
            Param::required("family", Ty::Family, "the family of tasks"),
            Param::optional(
                "size",
                Ty::Count(1),
                Initial::Absent,
                "the number of tasks, for a family without strata or data",
            ),
            Param::optional(
                "strata",
                Ty::Strata,
                Initial::Absent,
                "the strata that take part; all of them if not given",
            ),
            Param::optional(
                "batch",
                Ty::Count(1),
                Initial::Absent,
                "how many take part in a step; all of them if not given",
            ),
            Param::optional(
                "replace",
                Ty::Bool,
                Initial::Bool(false),
                "whether a task may be sampled twice for one step",
            ),
            LAW,
        ],
        doc: "A fixed set of tasks, the same at every step: the clients of a data set, the tasks of some strata, or a number of draws. \
              A step samples `batch` of them by the `law`, which is apart from how much each counts in the objective; without \
              `replace`, one after the other from those that are left.",
        example: "tasks = pool(linear, size: 100, batch: 10)",
    },
];
