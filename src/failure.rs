//! Why tine ended, for the one place that prints it.

use std::fmt;

/// An end that is not a success: one line that names the thing and the mend, and an exit code.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    fault: Fault,
    message: String,
}

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The user's: trying again changes nothing.
    User = 100,
    /// Nobody's: it is not ready, which is what was asked.
    Unready = 1,
    /// The system's: trying again later may help.
    System = 111,
}

impl Failure {
    /// A mistake in what tine was told.
    pub fn user(message: impl Into<String>) -> Self {
        Self { fault: Fault::User, message: message.into() }
    }

    /// Something that the system refused.
    pub fn system(message: impl Into<String>) -> Self {
        Self { fault: Fault::System, message: message.into() }
    }

    /// The answer of a health check that tine is not ready.
    pub fn unready(message: impl Into<String>) -> Self {
        Self { fault: Fault::Unready, message: message.into() }
    }

    /// The exit code: 1, 100 or 111.
    pub fn exit_code(&self) -> u8 {
        self.fault as u8
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
