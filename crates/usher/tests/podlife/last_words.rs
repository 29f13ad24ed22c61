//! What a container leaves behind for its status.

use super::support::Machine;
use super::{run_to_end, shell_pod};

#[test]
fn the_last_word_of_a_container_is_read_from_where_it_says() {
    let Some(machine) = Machine::new("the_last_word_of_a_container_is_read_from_where_it_says") else { return };
    let command = "echo elsewhere > /dev/null; echo 'the disk is full' > /var/last/word; exit 3";
    let ended = run_to_end(&machine, &shell_pod("last", command, "terminationMessagePath: /var/last/word", ""));
    let exit = &ended.status()["containerStatuses"][0]["state"]["exit"];
    assert_eq!((&exit["code"], &exit["message"]), (&3.into(), &"the disk is full\n".into()), "{}", ended.story());
}
