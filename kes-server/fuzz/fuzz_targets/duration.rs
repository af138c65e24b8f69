#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| kes_fuzz::duration::check(input));
