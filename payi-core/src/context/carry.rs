//! Tasks and threads that take the context along: nothing that is spawned inherits it by itself.

#[cfg(feature = "tokio")]
pub use tasks::{JoinSetExt, spawn, spawn_blocking, spawn_local};

/// Threads that take the context along.
pub mod thread {
    use std::thread::JoinHandle;

    use crate::context::InContextFn;

    /// [`std::thread::spawn`], in the context that is current now.
    ///
    /// ```
    /// # use payi_core::context::{builder, current, thread};
    /// let user = builder().user_id("u-1").run(|| thread::spawn(|| current().user_id()));
    /// assert_eq!(user.join().unwrap().as_deref(), Some("u-1"));
    /// ```
    ///
    /// For scoped threads, named threads and pools: `closure.in_current_context()`
    /// ([`InContextFn`]).
    #[track_caller]
    pub fn spawn<F, R>(work: F) -> JoinHandle<R>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        std::thread::spawn(work.in_current_context())
    }
}

#[cfg(feature = "tokio")]
mod tasks {
    use tokio::task::{AbortHandle, JoinHandle, JoinSet};

    use crate::context::{InContext, InContextFn};

    /// [`tokio::spawn`], in the context that is current now.
    ///
    /// ```
    /// # use payi_core::context::{builder, current, spawn};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let user = builder().user_id("u-1").run(|| spawn(async { current().user_id() }));
    /// assert_eq!(user.await.unwrap().as_deref(), Some("u-1"));
    /// # }
    /// ```
    #[track_caller]
    pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        tokio::spawn(future.in_current_context())
    }

    /// [`tokio::task::spawn_local`], in the context that is current now.
    #[track_caller]
    pub fn spawn_local<F>(future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        tokio::task::spawn_local(future.in_current_context())
    }

    /// [`tokio::task::spawn_blocking`], in the context that is current now.
    #[track_caller]
    pub fn spawn_blocking<F, R>(work: F) -> JoinHandle<R>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        tokio::task::spawn_blocking(work.in_current_context())
    }

    /// [`JoinSet`]'s spawning, in the context that is current at the call.
    ///
    /// ```
    /// # use payi_core::context::{builder, current, JoinSetExt};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let mut set = tokio::task::JoinSet::new();
    /// for user in [1, 2] {
    ///     builder().user_id(user).run(|| set.spawn_in_context(async { current().user_id() }));
    /// }
    /// let mut users = set.join_all().await;
    /// users.sort();
    /// assert_eq!(users, [Some("1".into()), Some("2".into())]);
    /// # }
    /// ```
    pub trait JoinSetExt<T: 'static> {
        /// [`JoinSet::spawn`], in the context that is current now.
        #[track_caller]
        fn spawn_in_context<F>(&mut self, future: F) -> AbortHandle
        where
            F: Future<Output = T> + Send + 'static,
            T: Send;

        /// [`JoinSet::spawn_local`], in the context that is current now.
        #[track_caller]
        fn spawn_local_in_context<F>(&mut self, future: F) -> AbortHandle
        where
            F: Future<Output = T> + 'static;

        /// [`JoinSet::spawn_blocking`], in the context that is current now.
        #[track_caller]
        fn spawn_blocking_in_context<F>(&mut self, work: F) -> AbortHandle
        where
            F: FnOnce() -> T + Send + 'static,
            T: Send;
    }

    impl<T: 'static> JoinSetExt<T> for JoinSet<T> {
        fn spawn_in_context<F>(&mut self, future: F) -> AbortHandle
        where
            F: Future<Output = T> + Send + 'static,
            T: Send,
        {
            self.spawn(future.in_current_context())
        }

        fn spawn_local_in_context<F>(&mut self, future: F) -> AbortHandle
        where
            F: Future<Output = T> + 'static,
        {
            self.spawn_local(future.in_current_context())
        }

        fn spawn_blocking_in_context<F>(&mut self, work: F) -> AbortHandle
        where
            F: FnOnce() -> T + Send + 'static,
            T: Send,
        {
            self.spawn_blocking(work.in_current_context())
        }
    }
}
