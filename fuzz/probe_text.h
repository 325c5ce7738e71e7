/*
 * What a sanitizer printed before it ended the process, as a verdict.
 */
#ifndef WAKEFUZZ_FUZZ_PROBE_TEXT_H
#define WAKEFUZZ_FUZZ_PROBE_TEXT_H

#include "fuzz/probe.h"

/* A sanitizer that names the frames of its report starts a symbolizer, which takes ten times as long as a probe. So where probes are run it
 * prints addresses (probe_prepare()), and this gives them their names: the text with a line for each function that an address stands for.
 * Kernel thread. Free it with g_free(). */
char *probe_text_with_names(const char *text);

/* Any thread. Fill verdict, key and summary from a sanitizer's report. False: there is none in the text. */
bool probe_text_sanitizer(const char *text, ProbeResult *result);

#endif
