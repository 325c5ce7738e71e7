/*
 * QMP commands of the block layer: ordinary ones, so in the main thread, outside coroutines and outside the nested loops of the block layer.
 *
 * From QEMU: job-qmp.c, block/export/export.c.
 */
#ifndef WAKEFUZZ_CORE_QMP_BLOCK_COMMANDS_H
#define WAKEFUZZ_CORE_QMP_BLOCK_COMMANDS_H

#include "core/qmp_json.h"

/* {"id": job}: cancel it by force. Returns at once. */
void qmp_job_cancel(JsonObject *args, JsonNode **ret, GError **error);

/* {"id": export, "mode": "safe" (the default; refused while it is in use) or "hard"}: shut it down. Returns at once. */
void qmp_block_export_del(JsonObject *args, JsonNode **ret, GError **error);

#endif
