/*
 * log-setting - what the settings log and log_level mean.
 */
#include "master/log-setting.h"

#include "common/log.h"

enum log_target
log_setting_target(struct span log)
{
	if (span_equal(log, SPAN("syslog")))
		return LOG_TO_SYSLOG;
	if (span_equal(log, SPAN("stderr")))
		return LOG_TO_STDERR;
	if (log.len > 1 && log.at[0] == '/' && log.at[log.len - 1] != '/')
		return LOG_TO_FILE;
	return LOG_TO_NOWHERE;
}

int
log_setting_level(struct span word)
{
	static const struct {
		const char *word;
		enum log_level level;
	} levels[] = {
		{ "debug", LOG_LEVEL_DEBUG },
		{ "info", LOG_LEVEL_INFO },
		{ "notice", LOG_LEVEL_NOTICE },
		{ "warning", LOG_LEVEL_WARNING },
		{ "error", LOG_LEVEL_ERROR },
	};

	for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++)
		if (span_equal(word, span_str(levels[i].word)))
			return (int)levels[i].level;
	return -1;
}
