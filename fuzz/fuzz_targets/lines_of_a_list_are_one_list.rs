#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tine_fuzz::bodies::lines_of_a_list_are_one_list(data));
