//! Lives read from recorded journals, and from those of simulated pods: what is said of them and how they are drawn.

mod charts;
mod documented;
mod judged;
mod measures;
mod whys;
