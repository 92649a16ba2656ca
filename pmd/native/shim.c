#define _GNU_SOURCE
#include <stdio.h>

#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

#include "shim.h"

int shim_errno(void)
{
	return rte_errno;
}

unsigned int shim_lcore_id(void)
{
	return rte_lcore_id();
}

static shim_log_t log_sink;

static ssize_t log_write(void *cookie, const char *text, size_t length)
{
	int level = rte_log_cur_msg_loglevel();

	log_sink(level < 0 ? RTE_LOG_INFO : (uint32_t)level, text, length);
	return (ssize_t)length;
}

int shim_log_open(shim_log_t sink)
{
	cookie_io_functions_t functions = { .write = log_write };
	FILE *stream;

	log_sink = sink;
	stream = fopencookie(NULL, "w", functions);
	if (stream == NULL)
		return -1;
	setvbuf(stream, NULL, _IOLBF, 0);
	return rte_openlog_stream(stream);
}

int shim_mempool_get(struct rte_mempool *pool, struct rte_mbuf **buffers, unsigned int count)
{
	return rte_mempool_get_bulk(pool, (void **)buffers, count);
}

void shim_mempool_put(struct rte_mempool *pool, struct rte_mbuf **buffers, unsigned int count)
{
	rte_mempool_put_bulk(pool, (void **)buffers, count);
}

void shim_mbuf_free(struct rte_mbuf *buffer)
{
	rte_pktmbuf_free(buffer);
}

uint16_t shim_tx_prepare(uint16_t port, uint16_t queue, struct rte_mbuf **buffers, uint16_t count)
{
	return rte_eth_tx_prepare(port, queue, buffers, count);
}
