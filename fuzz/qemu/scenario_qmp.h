/*
 * QMP commands of the storage daemon, given by the scenario itself in the main thread: as the monitor's dispatcher gives one that is no
 * coroutine, without a client and its wire (target qemu_monitor has those). All the daemon's checks and callers are in the way, and the
 * commands are the same in each version.
 */
#ifndef WAKEFUZZ_FUZZ_QEMU_SCENARIO_QMP_H
#define WAKEFUZZ_FUZZ_QEMU_SCENARIO_QMP_H

#include "fuzz/qemu/scenario.h"

#include "qemu/job.h"

/* Register the daemon's commands, and set up what sends events. Once, before any command. */
void scenario_qmp_begin(void);

/* Instead of scenario_begin(): the same with io threads made by object-add, so that commands know them as "iothread0" and so on. */
void scenario_begin_named(Scenario *scenario, unsigned thread_count);

/* The monitor's cleanup, as the daemon does it at its end. */
void scenario_qmp_end(void);

/* Give a command, in JSON with ' for ", as for qobject_from_jsonf_nofail(); whether it succeeded. */
bool scenario_qmp(const char *format, ...) G_GNUC_PRINTF(1, 2);

/* The same for one that must succeed. */
void scenario_qmp_good(const char *format, ...) G_GNUC_PRINTF(1, 2);

/* The same for a command that is a coroutine, such as block_resize: it runs in one, as the dispatcher is one, and main serves it. */
bool scenario_qmp_coroutine(const char *format, ...) G_GNUC_PRINTF(1, 2);

/* The job of this name; NULL: none, or none any more. */
Job *scenario_find_job(const char *id);

/* A node of the file driver on an image of scenario_image.h: with worker threads, or O_DIRECT on Linux AIO. */
void scenario_add_file(const char *node, const char *file, bool native);

/* Delete such nodes, those that are there, NULL at the end; none may have a request or a drained section left, and no others may be there. */
void scenario_delete_nodes(const char *const *nodes);

#endif
