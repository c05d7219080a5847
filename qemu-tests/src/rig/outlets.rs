//! The site's power switch, which nodes ask to cut their peer's power: the tester plays it, and the
//! drill cuts the power and confirms it.

use ::probe::words::Ask;

use super::drill::Drill;
use super::fault::{Node, Stop};

impl Drill {
    /// Plugs the switch in, at the tester's address.
    pub fn plug_power_switch_in(&self) -> Result<(), Stop> {
        self.tester_probe()?.ask(Ask::PlugPowerSwitchIn)?;
        Ok(())
    }

    /// Whether somebody asked to cut a node's power.
    pub fn power_cut_is_asked(&self, node: Node) -> Result<bool, Stop> {
        let asked = self.tester_probe()?.ask(Ask::OutletsAsked)?;
        let name = self.name(node);
        Ok(asked.as_array().is_some_and(|asked| asked.iter().any(|outlet| outlet == name)))
    }

    /// Tells whoever asked that a node's power is cut.
    pub fn confirm_power_cut(&mut self, node: Node) -> Result<(), Stop> {
        let outlet = self.name(node).to_owned();
        self.mark();
        self.note(format!("the power switch confirms that {outlet} is off"));
        self.tester_probe()?.ask(Ask::OutletIsOff { outlet })?;
        Ok(())
    }
}
