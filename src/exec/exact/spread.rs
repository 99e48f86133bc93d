//! Work for the threads of the pool: cut in two, and each half again, until every thread has a part.

/// Work that can be cut into parts which write to different places. No bit of a result may depend on where it is cut.
pub(super) trait Spread: Sized + Send {
    /// Into how many parts it can be cut at most.
    fn parts(&self) -> usize;
    /// The first so many parts, at least one and not all, and the others.
    fn cut(self, first: usize) -> (Self, Self);
    /// Does it on this thread.
    fn work(self);
}

/// Does the work on so many threads, about as much on each.
pub(super) fn spread<S: Spread>(work: S, threads: usize) {
    let parts = work.parts();
    let threads = threads.min(parts);
    if threads < 2 {
        return work.work();
    }
    let (left, right) = work.cut(parts * (threads / 2) / threads);
    rayon::join(|| spread(left, threads / 2), || spread(right, threads - threads / 2));
}

/// The threads for work of that size, given the size from which on it is worth it.
pub(super) fn threads(size: usize, parallel: usize) -> usize {
    if size < parallel { 1 } else { rayon::current_num_threads() }
}
