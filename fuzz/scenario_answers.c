#include "fuzz/scenario_answers.h"

#include <glib.h>

#include "core/timer.h"
#include "fuzz/fuzz.h"

#define SLEEP_MS 5 /* as the command says */

static const char *const commands[SCENARIO_COMMANDS] = {
    [COMMAND_NEGOTIATE] = "{\"execute\":\"qmp_capabilities\"",
    [COMMAND_NEGOTIATE_OOB] = "{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[\"oob\"]}",
    [COMMAND_QUERY_COMMANDS] = "{\"execute\":\"query-commands\"",
    [COMMAND_QUERY_STATUS] = "{\"execute\":\"query-status\"",
    [COMMAND_SLEEP_NOT] = "{\"execute\":\"x-sleep\"",
    [COMMAND_SLEEP] = "{\"execute\":\"x-sleep\",\"arguments\":{\"ms\":5}",
    [COMMAND_STOP] = "{\"execute\":\"stop\"",
    [COMMAND_CONT] = "{\"execute\":\"cont\"",
    [COMMAND_MIGRATE] = "{\"execute\":\"migrate\"",
    [COMMAND_MIGRATE_PAUSE] = "{\"execute\":\"migrate-pause\"",
    [COMMAND_MIGRATE_PAUSE_OOB] = "{\"exec-oob\":\"migrate-pause\"",
    [COMMAND_QUERY_STATUS_OOB] = "{\"exec-oob\":\"query-status\"",
    [COMMAND_UNKNOWN] = "{\"execute\":\"no-such\"",
    [COMMAND_SLEEP_WRONG] = "{\"execute\":\"x-sleep\",\"arguments\":{\"ms\":\"long\"}",
    [COMMAND_QUIT] = "{\"execute\":\"quit\"",
};

const char *scenario_command_text(ScenarioCommand command)
{
    return commands[command];
}

bool scenario_command_is_oob(ScenarioCommand command)
{
    return command == COMMAND_MIGRATE_PAUSE_OOB || command == COMMAND_QUERY_STATUS_OOB;
}

/* ---- the beginning of what it is refused with; NULL: it is not; ANY: it depends on the schedule, or is not known */

static const char ANY[] = "";

static const char *oob_refusal(const ScenarioAsked *asked)
{
    if (!asked->after_oob) {
        return "QMP input member 'exec-oob' is unexpected";
    }
    return asked->has_oob && asked->command == COMMAND_QUERY_STATUS_OOB ? "The command query-status does not support OOB" : ANY;
}

static const char *migration_refusal(const ScenarioAnswers *answers, bool pause)
{
    if (!answers->may_know || answers->pauses_at_once) {
        return ANY;
    }
    if (pause) {
        return answers->migrates ? NULL : "There's no migration in progress";
    }
    return answers->migrates ? "There's a migration process in progress" : NULL;
}

static const char *refusal(const ScenarioAnswers *answers, ScenarioCommand command)
{
    if (command == COMMAND_NEGOTIATE || command == COMMAND_NEGOTIATE_OOB) {
        return answers->negotiated ? "Capabilities negotiation is already complete" : NULL;
    }
    if (!answers->negotiated) {
        return "Expecting capabilities negotiation";
    }
    switch (command) {
    case COMMAND_MIGRATE:
    case COMMAND_MIGRATE_PAUSE:
        return migration_refusal(answers, command == COMMAND_MIGRATE_PAUSE);
    case COMMAND_UNKNOWN:
        return "The command no-such has not been found";
    case COMMAND_SLEEP_WRONG:
        return "Invalid parameter type for 'ms'";
    default:
        return NULL;
    }
}

/* ---- what it does */

/* A migration begins once, and is paused once; both are exchanges, in whichever threads. */
static void check_migrations(const ScenarioAnswers *answers)
{
    fuzz_check(answers->paused <= answers->migrated + answers->migrate_sent);
    fuzz_check(answers->migrated <= 1 + answers->paused + answers->pause_sent);
}

static void count_migration(ScenarioAnswers *answers, ScenarioCommand command, bool done)
{
    if (command == COMMAND_MIGRATE) {
        answers->migrate_sent--;
        answers->migrated += done;
        answers->migrates |= done;
    } else if (command == COMMAND_MIGRATE_PAUSE || command == COMMAND_MIGRATE_PAUSE_OOB) {
        answers->pause_sent--;
        answers->paused += done;
        answers->migrates &= !done;
    }
    if (answers->is_alone) {
        check_migrations(answers);
    }
}

static void check_status(const ScenarioAnswers *answers, JsonObject *status)
{
    fuzz_check(json_object_get_boolean_member(status, "running") == !answers->stopped);
}

static void note_done(ScenarioAnswers *answers, const ScenarioAsked *asked, JsonObject *answer)
{
    switch (asked->command) {
    case COMMAND_NEGOTIATE:
    case COMMAND_NEGOTIATE_OOB:
        answers->negotiated = true;
        answers->has_oob = asked->command == COMMAND_NEGOTIATE_OOB;
        break;
    case COMMAND_STOP:
    case COMMAND_CONT:
        answers->stopped = asked->command == COMMAND_STOP;
        break;
    case COMMAND_QUERY_STATUS:
        if (answers->may_know) {
            check_status(answers, json_object_get_object_member(answer, "return"));
        }
        break;
    case COMMAND_SLEEP:
        fuzz_check(fuzz_time_ns() - asked->now_ns >= (uint64_t)SLEEP_MS * SCALE_MS);
        break;
    default:
        break;
    }
}

/* ---- life */

void scenario_answers_init(ScenarioAnswers *answers, bool is_alone)
{
    *answers = (ScenarioAnswers){ .is_alone = is_alone, .may_know = is_alone };
}

void scenario_answers_connected(ScenarioAnswers *answers, bool is_known)
{
    answers->is_known = is_known;
    answers->may_know = answers->may_know && is_known;
    answers->has_asked = answers->asked_for_oob = answers->negotiated = answers->has_oob = false;
}

void scenario_answers_lost(ScenarioAnswers *answers)
{
    answers->is_known = answers->may_know = answers->is_alone = false;
}

void scenario_answers_sent(ScenarioAnswers *answers, ScenarioCommand command, ScenarioAsked *asked)
{
    *asked = (ScenarioAsked){
        .command = command,
        .after_oob = answers->asked_for_oob,
        .has_oob = answers->has_oob,
        .now_ns = fuzz_time_ns(),
    };
    answers->has_asked |= command == COMMAND_NEGOTIATE || command == COMMAND_NEGOTIATE_OOB;
    answers->asked_for_oob |= command == COMMAND_NEGOTIATE_OOB;
    answers->pauses_at_once |= command == COMMAND_MIGRATE_PAUSE_OOB && asked->after_oob;
    answers->migrate_sent += command == COMMAND_MIGRATE;
    answers->pause_sent += command == COMMAND_MIGRATE_PAUSE || command == COMMAND_MIGRATE_PAUSE_OOB;
}

void scenario_answers_check(ScenarioAnswers *answers, const ScenarioAsked *asked, JsonObject *answer)
{
    const char *expected = scenario_command_is_oob(asked->command) ? oob_refusal(asked) : refusal(answers, asked->command);
    bool done = json_object_has_member(answer, "return");

    if (!answers->is_known) {
        return;
    }
    if (!done) {
        const char *text = json_object_get_string_member(json_object_get_object_member(answer, "error"), "desc");

        fuzz_check(expected && g_str_has_prefix(text, expected));
    } else {
        fuzz_check(!expected || expected == ANY);
        note_done(answers, asked, answer);
    }
    count_migration(answers, asked->command, done);
}
