/*
 * A QMP client for the target of the monitor: a thread that follows a script. It connects, sends commands, malformed text or any bytes, in
 * pieces; waits, hangs up, comes again; and asks the program to end.
 *
 * Invariants that it checks: each command is answered exactly once, in order (out of band may overtake), unless it hangs up or the cleanup
 * closes the connection before, and nobody else does; it is answered what it has to be (scenario_answers.h); what it reads is whole lines of
 * JSON. No event comes before the negotiation; those that are limited come once a second; of those that carry numbers none is lost.
 */
#ifndef WAKEFUZZ_FUZZ_SCENARIO_SCRIPT_H
#define WAKEFUZZ_FUZZ_SCENARIO_SCRIPT_H

#include <glib.h>

#include "core/chardev.h"
#include "fuzz/scenario.h"
#include "fuzz/scenario_answers.h"
#include "fuzz/scenario_vcpu.h"

#define STEPS_MAX 6u
#define SENT_MAX  16u
#define RAW_MAX   24u

typedef enum StepKind {
    STEP_COMMAND,
    STEP_MALFORMED,
    STEP_WAIT,
    STEP_HANG_UP,
    STEP_COME_AGAIN,
    STEP_END_PROGRAM,
    STEP_RAW,
    STEP_BURST,
    STEP_POKE_VCPU,
    STEP_KINDS,
} StepKind;

/* Of STEP_WAIT, where events carry numbers: for what beside the answers. */
enum { WAIT_FOR_EVENTS = 1, WAIT_A_SECOND = 2, WAIT_NOT_FOR_THE_LAST = 4 };

typedef struct ScenarioStep {
    StepKind kind;
    uint8_t which, pieces;
    uint8_t raw[RAW_MAX];
    size_t raw_size;
} ScenarioStep;

typedef struct ScenarioScript {
    Scenario *scenario;
    ScenarioVcpu *vcpu;
    unsigned number; /* among the clients */
    unsigned *busy;     /* raw: clients that have not done all their steps; the last one asks the program to end */
    bool *asked_to_end; /* raw: somebody has, or may have */
    QemuThread thread;
    Chardev *chr;
    bool shares;  /* another client wants the same monitor: do not stay */
    unsigned negotiates; /* first of all: 1 for commands, 2 for out-of-band too; else not */
    bool waits;   /* for all its answers */
    uint8_t cut_off; /* after its steps the vCPU closes its connection; see hang_up_step(); 0: not */
    /* Each line that comes is about what this connection has sent. Not so where a connection came before: its last answer goes to
     * whoever is there when it is ready, as in QEMU. */
    bool strict;
    bool alien; /* has sent bytes of the input: nobody knows what they do to its commands */
    bool is_malformed; /* some of what it has sent */
    bool hears; /* it may wait for events, which carry numbers */
    const ScenarioPoke *awaited[2]; /* the last ones on this connection: of events without a limit, and with one */
    int heard[2]; /* the last numbers of these; raw */
    int listens_from, must_hear; /* the first number without a limit that is for this connection, and the last; 0: none; raw */
    uint64_t limited_events; /* that have come, on all connections */
    uint64_t born_ns;
    bool greeted, stays; /* by its monitor; stays: raw */
    ScenarioAnswers answers;
    ScenarioAsked asked[SENT_MAX];
    unsigned step_count;
    ScenarioStep steps[STEPS_MAX];
    int fd; /* -1: not connected */
    GString *input;
    unsigned connections, first_id;
    unsigned sent, in_band_next, answered; /* of this connection */
    unsigned unanswered; /* for a window: no point */
    bool out_of_band[SENT_MAX], has_answer[SENT_MAX], anonymous[SENT_MAX];
} ScenarioScript;

/* Let it run. Main thread, like all of these. */
void scenario_script_start(ScenarioScript *client);

/* Has it sent a command that is not answered yet? */
bool scenario_script_waits(const ScenarioScript *client);

/* The vCPU has ended, and the cleanup begins: what it has emitted comes through. */
void scenario_script_note_end(ScenarioScript *client);

/* Has it done all its steps, and stays connected to the end? */
bool scenario_script_stays(const ScenarioScript *client);

/* Wait for its end, which the end of its device brings about; blocks. */
void scenario_script_join(ScenarioScript *client);

#endif
