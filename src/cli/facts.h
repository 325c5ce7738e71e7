/*
 * All that a program knows about a finding (TARGET-replay --facts), for commands that make something else of it. One thread.
 */
#ifndef WAKEFUZZ_CLI_FACTS_H
#define WAKEFUZZ_CLI_FACTS_H

#include <json-glib/json-glib.h>

#include "cli/subject.h"

/* The object that fuzz/facts.h and src/report/data.h describe, with the stacks at all rows, and with switches also at the first step after each
 * switch of threads in the timeline, the last ones where these are too many. NULL with a message where the subject is no finding
 * in that flavour, or cannot be run. Unref it. */
JsonObject *facts_read(const Subject *subject, const char *flavour, bool switches);

/* Members, where they are there: else "", 0, false, an empty array. They belong to the object. */
const char *facts_text(JsonObject *object, const char *name);
guint64 facts_number(JsonObject *object, const char *name);
bool facts_flag(JsonObject *object, const char *name);
JsonArray *facts_array(JsonObject *object, const char *name);
JsonObject *facts_item(JsonArray *array, guint i); /* of an array of objects */
guint64 facts_at(JsonArray *array, guint i, guint k); /* of an array of arrays of numbers */

/* What a sanitizer or a signal ended has its verdict, summary, key, hash and steps under names of their own. */
const char *facts_of_finding(JsonObject *facts, const char *name);

/* "main"; "the clock". Belongs to facts. */
const char *facts_thread_name(JsonObject *facts, guint64 id);

#endif
