#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tine_fuzz::bodies::request_parsing_is_sound(data));
