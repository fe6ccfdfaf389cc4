mod golden;
mod harness;
