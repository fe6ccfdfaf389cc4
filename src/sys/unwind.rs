//! Stubs for libunwind's `_Unwind_*` functions, so that std's backtrace symboliser is not linked.
//!
//! std uses these functions to print a backtrace, and the shipped binary has neither symbols nor
//! unwind tables, so its backtrace is always empty. With the stubs the linker does not need
//! libunwind, and LTO finds that the stack walk visits no frame and drops the symboliser: 250 KB.
//!
//! The list must be complete: if one function is missing, the linker takes the object of libunwind
//! that has it, and reports the others as duplicate symbols. A panic aborts, so that the only
//! function which is ever called is `_Unwind_Backtrace`.
#![allow(unsafe_code, non_snake_case)]

/// `_URC_END_OF_STACK` (Itanium C++ ABI, exception handling, §1.1): there are no more frames.
const END_OF_STACK: usize = 5;

/// Defines functions that ignore their arguments and return `$value`.
macro_rules! define {
    ($value:expr => $($name:ident)*) => {
        $(
            #[unsafe(no_mangle)]
            extern "C" fn $name() -> usize {
                $value
            }
        )*
    };
}

define!(END_OF_STACK => _Unwind_Backtrace);
define!(0 =>
    _Unwind_DeleteException
    _Unwind_FindEnclosingFunction
    _Unwind_Find_FDE
    _Unwind_ForcedUnwind
    _Unwind_GetCFA
    _Unwind_GetDataRelBase
    _Unwind_GetGR
    _Unwind_GetIP
    _Unwind_GetIPInfo
    _Unwind_GetLanguageSpecificData
    _Unwind_GetRegionStart
    _Unwind_GetTextRelBase
    _Unwind_RaiseException
    _Unwind_Resume
    _Unwind_Resume_or_Rethrow
    _Unwind_SetGR
    _Unwind_SetIP
);
