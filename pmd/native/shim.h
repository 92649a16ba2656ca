/*
 * What Rust cannot call: macros, thread-local variables, and static inline functions that are not
 * run for every packet.
 */
#ifndef PMD_SHIM_H
#define PMD_SHIM_H

#include <stddef.h>
#include <stdint.h>

#include <rte_ethdev.h>
#include <rte_vhost.h>

/* Macros with casts, which bindgen does not evaluate. */
static const uint64_t SHIM_RX_L4_CHECKSUM =
	RTE_ETH_RX_OFFLOAD_UDP_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_CKSUM;
static const uint64_t SHIM_RX_RSS_HASH = RTE_ETH_RX_OFFLOAD_RSS_HASH;
static const uint64_t SHIM_TX_CHECKSUM =
	RTE_ETH_TX_OFFLOAD_UDP_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_CKSUM;
static const uint64_t SHIM_TX_IPV4_CHECKSUM = RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;
static const uint64_t SHIM_TX_TCP_SEGMENT = RTE_ETH_TX_OFFLOAD_TCP_TSO;
static const uint64_t SHIM_RSS_SPREAD =
	RTE_ETH_RSS_IP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_SCTP;

static const uint64_t SHIM_VHOST_LINEAR_BUFFERS = RTE_VHOST_USER_LINEARBUF_SUPPORT;
static const uint64_t SHIM_VHOST_EXTERNAL_BUFFERS = RTE_VHOST_USER_EXTBUF_SUPPORT;
static const uint64_t SHIM_VHOST_RX_FLAGS = RTE_VHOST_USER_NET_COMPLIANT_OL_FLAGS;

/* Takes one piece of DPDK's log; `level` is RTE_LOG_*. */
typedef void (*shim_log_t)(uint32_t level, const char *text, size_t length);

int shim_errno(void);
unsigned int shim_lcore_id(void);
/* Sends DPDK's log to `sink`, from before rte_eal_init() on. */
int shim_log_open(shim_log_t sink);

int shim_mempool_get(struct rte_mempool *pool, struct rte_mbuf **buffers, unsigned int count);
void shim_mempool_put(struct rte_mempool *pool, struct rte_mbuf **buffers, unsigned int count);
void shim_mbuf_free(struct rte_mbuf *buffer);
uint16_t shim_tx_prepare(uint16_t port, uint16_t queue, struct rte_mbuf **buffers, uint16_t count);

#endif
