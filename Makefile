# SPDX-License-Identifier: Apache-2.0
# For fingers that type make; everything is in ./dev.
words = deps build demo down test bench fuzz format help
.PHONY: $(words)
$(words):
	@./dev $@
.DEFAULT_GOAL := build
