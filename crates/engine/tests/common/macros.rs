//! Macros of the suites.
#![allow(unused_macros)] // each suite uses some

/// A value with other fields. The structures of the public API can get new ones, so that no literal of them can be written here.
macro_rules! with {
    ($base:expr, $($field:ident: $value:expr),+ $(,)?) => {{
        let mut value = $base;
        $(value.$field = $value;)+
        value
    }};
}

/// A driver, or a return from the test if the poller is not available here.
macro_rules! driver {
    () => {
        match Driver::open() {
            Some(driver) => driver,
            None => return,
        }
    };
    ($($setting:ident: $value:expr),+ $(,)?) => {{
        let mut driver = driver!();
        let config = driver.reactor.config().clone();
        driver.reactor.configure(with!(config, $($setting: $value),+));
        driver
    }};
}
