/*
 * A QMP client for targets: a thread at the other end of a monitor's connection that negotiates, sends commands, and reads to the end.
 *
 * Invariants that it checks: each command is answered at most once, in order (out of band may overtake); one that is refused is refused
 * with an error that QMP has for it; no export is deleted that somebody uses, unless the command says so.
 */
#ifndef WAKEFUZZ_FUZZ_SCENARIO_QMP_H
#define WAKEFUZZ_FUZZ_SCENARIO_QMP_H

#include <glib.h>

#include "core/chardev.h"
#include "core/thread.h"

#define SCENARIO_QMP_COMMANDS_MAX 4u

typedef struct ScenarioQmp {
    QemuThread thread;
    int fd;
    GString *input;
    bool greeted; /* first of all, and once */
    uint8_t commands[SCENARIO_QMP_COMMANDS_MAX];
    unsigned count, ends_after;
    bool waits; /* for the answer of each command before the next; else it sends all at once */
    unsigned sent, answered; /* the negotiation included; raw atomics: no points, no part of the program */
    const int *export0_holds;         /* raw */
    unsigned jobs_left, exports_left; /* raw; a bit for each that was there when the end began */
    bool ending;                      /* raw: that is now; only then the connection may be closed from the other side */
    bool asked_to_end;                /* raw: by itself, or by a command */
} ScenarioQmp;

/* Connect to chr and go. commands: what to send, by any bytes. Asks the program to end when so many have been answered, at most count.
 * *export0_holds: how many use "export0". Main thread. */
void scenario_qmp_start(ScenarioQmp *qmp, Chardev *chr, const int *export0_holds, const uint8_t *commands, unsigned count,
                        bool waits, unsigned ends_after);

/* Is a command under way? Main thread. */
bool scenario_qmp_busy(const ScenarioQmp *qmp);

/* Has it asked the program to end? Main thread. */
bool scenario_qmp_asked_to_end(const ScenarioQmp *qmp);

/* The end of the program begins now, with these jobs ("job0": bit 0, ...) and exports ("export0", ...) still there. Main thread. */
void scenario_qmp_note_end(ScenarioQmp *qmp, unsigned jobs_left, unsigned exports_left);

/* Wait for its end, which the end of the device brings about. Main thread; blocks. */
void scenario_qmp_join(ScenarioQmp *qmp);

#endif
