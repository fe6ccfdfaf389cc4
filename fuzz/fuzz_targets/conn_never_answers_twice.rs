#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tine_fuzz::conversations::conn_never_answers_twice(data));
