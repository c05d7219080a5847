//! Tests of the supervisor from outside: the drawing, each rule, and random histories.

mod drawing;
mod histories;
mod rules;
mod watchdog;
mod world;
