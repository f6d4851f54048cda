/*
 * log-setting - what the settings log and log_level mean.
 */
#ifndef VALIJA_LOG_SETTING_H
#define VALIJA_LOG_SETTING_H

#include "common/span.h"

/* Where a value of `log` sends lines, after conf_read filled it in. NOWHERE: it is not a value.
 * */
enum log_target { LOG_TO_SYSLOG, LOG_TO_STDERR, LOG_TO_FILE, LOG_TO_NOWHERE };
enum log_target log_setting_target(struct span log);
/* The level (enum log_level) of a word (debug, info, ...), or -1. */
int log_setting_level(struct span word);

#endif
