//! Why tine ended, for the one place that prints it.

use std::fmt;

/// An end that is not a success: one line that names the thing and the mend, and an exit code.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    fault: Fault,
    message: String,
}

/// Whose fault a failure is; the number is the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The system's, at run time: trying again later may help.
    System = 1,
    /// The user's, in usage or configuration: trying again changes nothing.
    User = 2,
}

impl Failure {
    /// A mistake in what tine was told.
    pub fn user(message: impl Into<String>) -> Self {
        Self { fault: Fault::User, message: message.into() }
    }

    /// A failure at run time: what the system refused, or a tine that is not ready.
    pub fn system(message: impl Into<String>) -> Self {
        Self { fault: Fault::System, message: message.into() }
    }

    /// The same message, with the exit code of a failure at run time.
    pub fn into_run_time(self) -> Self {
        Self { fault: Fault::System, ..self }
    }

    /// The exit code: 1 or 2.
    pub fn exit_code(&self) -> u8 {
        self.fault as u8
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
