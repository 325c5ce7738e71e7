/*
 * What a QMP client must be answered, as far as the schedule has no say in it: what it has negotiated, whether its machine runs, whether a
 * migration is under way, how long a command slept.
 *
 * Threads: of one client.
 */
#ifndef WAKEFUZZ_FUZZ_SCENARIO_ANSWERS_H
#define WAKEFUZZ_FUZZ_SCENARIO_ANSWERS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/qmp_json.h"

/* The first is the empty scenario's: an ordinary command that is always there. */
typedef enum ScenarioCommand {
    COMMAND_NEGOTIATE,
    COMMAND_NEGOTIATE_OOB,
    COMMAND_QUERY_COMMANDS,
    COMMAND_QUERY_STATUS,
    COMMAND_SLEEP_NOT,
    COMMAND_SLEEP,
    COMMAND_STOP,
    COMMAND_CONT,
    COMMAND_MIGRATE,
    COMMAND_MIGRATE_PAUSE,
    COMMAND_MIGRATE_PAUSE_OOB,
    COMMAND_QUERY_STATUS_OOB,
    COMMAND_UNKNOWN,
    COMMAND_SLEEP_WRONG,
    COMMAND_QUIT,
    SCENARIO_COMMANDS,
} ScenarioCommand;

/* One that is under way. */
typedef struct ScenarioAsked {
    ScenarioCommand command;
    bool after_oob;  /* the client had asked for out-of-band before, */
    bool has_oob;    /* and got it */
    uint64_t now_ns; /* when it was sent */
} ScenarioAsked;

typedef struct ScenarioAnswers {
    bool is_alone; /* no other client in the execution: nobody else changes the machine */
    bool is_known; /* of the monitor's commands, all that are under way are of this connection */
    bool may_know; /* false once and for all where the machine's state cannot be known any more */

    /* Of this connection, by the answers. */
    bool has_asked; /* to negotiate */
    bool asked_for_oob, negotiated, has_oob;

    /* Of the machine, by the answers. */
    bool stopped, migrates;
    bool pauses_at_once; /* a migration may have been paused out of band, at any moment */
    int migrated, paused;           /* so often that was done, */
    int migrate_sent, pause_sent;   /* and is under way, or nobody knows */
} ScenarioAnswers;

/* text: the command without its end and without an id. */
const char *scenario_command_text(ScenarioCommand command);
bool scenario_command_is_oob(ScenarioCommand command);

/* A client, alone or not. */
void scenario_answers_init(ScenarioAnswers *answers, bool is_alone);

/* A new connection. is_known: nobody else uses its monitor, and nothing is under way there. */
void scenario_answers_connected(ScenarioAnswers *answers, bool is_known);

/* The client has sent bytes of which nobody knows what they do. */
void scenario_answers_lost(ScenarioAnswers *answers);

/* A command is about to be sent. */
void scenario_answers_sent(ScenarioAnswers *answers, ScenarioCommand command, ScenarioAsked *asked);

/* Its answer has come, with "return" or "error". Those in band come in order. */
void scenario_answers_check(ScenarioAnswers *answers, const ScenarioAsked *asked, JsonObject *answer);

#endif
