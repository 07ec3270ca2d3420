//! Panics as findings, with their location, and without output on standard error.

use std::cell::{Cell, RefCell};
use std::panic::{self, PanicHookInfo, UnwindSafe};
use std::sync::Once;

/// A panic of a run.
#[derive(Debug)]
pub(crate) struct Panic {
    /// Place and message.
    pub(crate) what: String,
    /// It happened in the simulator itself, which is then at fault.
    pub(crate) in_simulator: bool,
}

thread_local! {
    static IS_CATCHING: Cell<bool> = const { Cell::new(false) };
    static CAUGHT: RefCell<Option<Panic>> = const { RefCell::new(None) };
}

/// Calls a function, and turns its panic into a value. Panics of other threads, and of this thread at other times, are
/// printed as usual.
pub(crate) fn catch<T>(call: impl FnOnce() -> T + UnwindSafe) -> Result<T, Panic> {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| if IS_CATCHING.get() { note(info) } else { usual(info) }));
    });
    IS_CATCHING.set(true);
    let ended = panic::catch_unwind(call);
    IS_CATCHING.set(false);
    ended.map_err(|_| CAUGHT.take().expect("the hook has noted the panic"))
}

fn note(info: &PanicHookInfo<'_>) {
    let place = info.location().map_or("", |location| location.file());
    let in_simulator = ["tests/simulator/", "testkit/"].iter().any(|part| place.contains(part));
    CAUGHT.set(Some(Panic { what: info.to_string(), in_simulator }));
}
