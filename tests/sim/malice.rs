//! Somebody who means ill.
use super::net::{Delivery, Net};
pub struct Imp;
impl Imp {
    pub fn has(&self, _: &Delivery) -> bool {
        false
    }
    pub fn act(&mut self, _: &mut Net) {}
    pub fn delivery(&mut self, _: &mut Net, _: &Delivery) {}
}
pub fn play(_: u64) -> Result<u64, String> {
    Ok(0)
}
