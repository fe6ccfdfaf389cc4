#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tine_fuzz::bodies::operator_fields_never_end_a_head(
    data
));
