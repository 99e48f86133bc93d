//! Which cells run side by side: as many as there are threads, as far as what they hold fits into memory.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rayon::Scope;

use crate::train::Held;

/// What is there for cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most that run at once.
    pub lanes: usize,
    /// The bytes that they share; all that there are where nothing is known.
    pub free: u64,
}

/// Cells that wait for their turn, and what those hold that had it.
#[derive(Debug)]
pub struct Queue {
    limits: Limits,
    held: Vec<Held>,
    waiting: VecDeque<usize>,
    running: usize,
    taken: u64,
}

impl Queue {
    /// All cells, by what each of them holds, in the order in which they begin where there is room.
    pub fn new(limits: Limits, held: Vec<Held>) -> Queue {
        Queue { limits, waiting: (0..held.len()).collect(), held, running: 0, taken: 0 }
    }

    /// The next cell to begin: the first that fits beside those that run. Where none runs, the first, whatever it holds.
    pub fn begin(&mut self) -> Option<usize> {
        if self.running >= self.limits.lanes.max(1) {
            return None;
        }
        let left = self.limits.free.saturating_sub(self.taken);
        let fits = self.waiting.iter().position(|&cell| self.held[cell].most <= left);
        let cell = self.waiting.remove(fits.or((self.running == 0).then_some(0))?)?;
        self.running += 1;
        self.taken += self.held[cell].most;
        Some(cell)
    }

    /// A cell that was begun has ended; its result stays.
    pub fn end(&mut self, cell: usize) {
        self.running -= 1;
        self.taken = self.taken - self.held[cell].most + self.held[cell].after;
    }

    /// Nothing further begins.
    pub fn close(&mut self) {
        self.waiting.clear();
    }
}

/// Runs every cell of a queue on the threads of this pool; gives the results in the order of the cells. After an error nothing further
/// begins, and of several errors the one of the first cell is given.
///
/// No thread waits for its turn, since one that waits within a cell helps others meanwhile: it is the end of a cell that begins the next ones.
pub fn run<T: Send, E: Send>(queue: Queue, cell: impl Fn(usize) -> Result<T, E> + Sync) -> Result<Vec<T>, E> {
    let done = queue.held.iter().map(|_| None).collect();
    let hall = Hall { cell, state: Mutex::new(State { queue, done, failed: None }) };
    rayon::scope(|scope| hall.admit(scope));
    let State { done, failed, .. } = hall.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    match failed {
        Some((_, error)) => Err(error),
        None => Ok(done.into_iter().map(|result| result.expect("every cell had its turn")).collect()),
    }
}

/// Where cells run.
struct Hall<F, T, E> {
    cell: F,
    state: Mutex<State<T, E>>,
}

struct State<T, E> {
    queue: Queue,
    done: Vec<Option<T>>,
    failed: Option<(usize, E)>,
}

impl<F: Fn(usize) -> Result<T, E> + Sync, T: Send, E: Send> Hall<F, T, E> {
    /// Begins what may begin now.
    fn admit<'s>(&'s self, scope: &Scope<'s>) {
        while let Some(cell) = self.next() {
            scope.spawn(move |scope| {
                let result = (self.cell)(cell);
                self.end(cell, result);
                self.admit(scope);
            });
        }
    }

    fn next(&self) -> Option<usize> {
        self.state().queue.begin()
    }

    fn end(&self, cell: usize, result: Result<T, E>) {
        let mut state = self.state();
        state.queue.end(cell);
        match result {
            Ok(result) => state.done[cell] = Some(result),
            Err(error) => {
                state.queue.close();
                if state.failed.as_ref().is_none_or(|(first, _)| cell < *first) {
                    state.failed = Some((cell, error));
                }
            }
        }
    }

    /// Nothing that holds the lock panics.
    fn state(&self) -> MutexGuard<'_, State<T, E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn queue(lanes: usize, free: u64, most: &[u64]) -> Queue {
        Queue::new(Limits { lanes, free }, most.iter().map(|&most| Held { most, after: 0 }).collect())
    }

    /// All that may begin now.
    fn begun(queue: &mut Queue) -> Vec<usize> {
        std::iter::from_fn(|| queue.begin()).collect()
    }

    #[test]
    fn a_cell_that_does_not_fit_lets_later_ones_go_first() {
        // Those of the mails: two small ones, two that fill the memory, two small ones; in GB.
        let mut queue = queue(2, 21, &[6, 6, 19, 19, 5, 5]);
        assert_eq!(begun(&mut queue), [0, 1]);
        queue.end(1);
        assert_eq!(begun(&mut queue), [4]);
        queue.end(0);
        assert_eq!(begun(&mut queue), [5]);
        queue.end(4);
        assert_eq!(begun(&mut queue), [0; 0]);
        queue.end(5);
        assert_eq!(begun(&mut queue), [2]);
        queue.end(2);
        assert_eq!(begun(&mut queue), [3]);
        queue.end(3);
        assert_eq!(begun(&mut queue), [0; 0]);
    }

    #[test]
    fn what_is_larger_than_the_memory_runs_alone() {
        let mut queue = queue(4, 10, &[30, 40, 0]);
        assert_eq!(begun(&mut queue), [2]);
        queue.end(2);
        for large in [0, 1] {
            assert_eq!(begun(&mut queue), [large]);
            queue.end(large);
        }
    }

    #[test]
    fn results_stay() {
        let held = vec![Held { most: 4, after: 3 }; 4];
        let mut queue = Queue::new(Limits { lanes: 2, free: 10 }, held);
        assert_eq!(begun(&mut queue), [0, 1]);
        queue.end(0);
        assert_eq!(begun(&mut queue), [0; 0], "4 run, 3 stay, and 3 are left");
        queue.end(1);
        assert_eq!(begun(&mut queue), [2]);
    }

    proptest! {
        #[test]
        fn every_cell_has_its_turn_and_what_runs_fits(
            lanes in 1..6_usize,
            free in 0..30_u64,
            held in prop::collection::vec((0..20_u64, 0..3_u64), 0..20),
            ends in prop::collection::vec(any::<prop::sample::Index>(), 20),
        ) {
            let held: Vec<Held> = held.into_iter().map(|(most, after)| Held { most, after: after.min(most) }).collect();
            let mut queue = Queue::new(Limits { lanes, free }, held.clone());
            let (mut running, mut ended): (Vec<usize>, Vec<usize>) = (vec![], vec![]);
            loop {
                let begun = begun(&mut queue);
                running.extend(&begun);
                if running.is_empty() {
                    break;
                }
                let holds = running.iter().map(|&i| held[i].most).sum::<u64>() + ended.iter().map(|&i| held[i].after).sum::<u64>();
                prop_assert!(running.len() <= lanes);
                prop_assert!(running.len() == 1 || holds <= free);
                // Nothing waits that could run.
                let waits = |i: &usize| !running.contains(i) && !ended.contains(i);
                let could = |i: usize| running.len() < lanes && holds + held[i].most <= free;
                prop_assert!(!(0..held.len()).filter(waits).any(could));
                let next = running.remove(ends[ended.len()].index(running.len()));
                queue.end(next);
                ended.push(next);
            }
            ended.sort_unstable();
            prop_assert_eq!(ended, (0..held.len()).collect::<Vec<_>>());
        }
    }

    /// What runs at a time in cells that help each other, as those do whose programs are cut for the threads.
    #[test]
    fn cells_on_threads_keep_to_the_limits_and_give_results_in_order() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        let most: Vec<u64> = (0..40).map(|i| 1 + i * 7 % 10).collect();
        for (lanes, free) in [(3, u64::MAX), (3, 12), (2, 5), (1, 0)] {
            let (now, worst) = (Mutex::new((0, 0)), Mutex::new(vec![]));
            let change = |cell: usize, begins: bool| {
                let mut now = now.lock().unwrap();
                let (count, holds) = *now;
                *now = if begins { (count + 1, holds + most[cell]) } else { (count - 1, holds - most[cell]) };
                worst.lock().unwrap().push(*now);
            };
            let cell = |cell: usize| {
                change(cell, true);
                let (ones, tens) = rayon::join(|| cell % 10, || (0..cell / 10).map(|_| 10).sum::<usize>());
                change(cell, false);
                Ok::<usize, ()>(ones + tens)
            };
            let results = pool.install(|| run(queue(lanes, free, &most), cell));
            assert_eq!(results, Ok((0..40).collect()));
            let fits = |(count, holds): (usize, u64)| count <= lanes && (count <= 1 || holds <= free);
            assert!(worst.into_inner().unwrap().into_iter().all(fits), "{lanes} lanes, {free} free");
        }
    }

    #[test]
    fn after_an_error_nothing_begins() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let begun = Mutex::new(vec![]);
        let cell = |cell: usize| {
            begun.lock().unwrap().push(cell);
            if cell == 2 { Err(cell) } else { Ok(cell) }
        };
        let failed = pool.install(|| run(queue(1, u64::MAX, &[0; 6]), cell));
        assert_eq!((failed, begun.into_inner().unwrap()), (Err(2), vec![0, 1, 2]));
    }
}
