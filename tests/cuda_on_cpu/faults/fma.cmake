# Faults of the plain-FMA kernel. CMakeLists.txt says what the fields mean.

# On sm_90 9-5-5 with 3 channels keeps all of conv1's weights, whose barriers would stand in for this one.
planted_fault(fma_no_barrier_after_input
  FILE forward_fma.cu
  OLD [=[      next0 = max(next0, last0 + 1);
      __syncthreads();
]=]
  NEW [=[      next0 = max(next0, last0 + 1);
]=]
  CASE 5,3,float,zeros,1,1,6,9,90 CAUGHT output)

# The barriers of later stages stand in for this one, but not in a second segment, where the ring is full after 12 rows.
planted_fault(fma_no_barrier_before_input
  FILE forward_fma.cu
  OLD [=[      __syncthreads();  // conv1 has done with the rows that are overwritten
]=]
  CASE 3,3,float,zeros,1,1,40,20,90 CAUGHT output)

planted_fault(fma_no_barrier_before_conv2
  FILE forward_fma.cu
  OLD [=[    __syncthreads();

    // ---- hidden2]=]
  NEW [=[    // ---- hidden2]=]
  CASE 1,1,float,zeros,1,1,6,9,90 CAUGHT output)

planted_fault(fma_no_barrier_after_partial_sums
  FILE fma_layers.cuh COMPILE forward_fma.cu
  OLD [=[store4(partial + ky * kChannelGroups * positions, sum[ky]);
    __syncthreads();
]=]
  NEW [=[store4(partial + ky * kChannelGroups * positions, sum[ky]);
]=]
  CASE 1,3,float,zeros,1,1,6,9,90 CAUGHT output)

planted_fault(fma_barrier_in_a_branch
  FILE fma_layers.cuh COMPILE forward_fma.cu
  OLD [=[    if (!wanted) continue;
#pragma unroll 1
]=]
  NEW [=[    if (!wanted) continue;
    __syncthreads();
#pragma unroll 1
]=]
  CASE 5,3,float,zeros,1,1,5,9,90 CAUGHT error)

planted_fault(fma_halo_off_by_one
  FILE forward_fma.cu
  OLD [=[kHalo0 = kHalo1 + kKernel1 / 2;]=]
  NEW [=[kHalo0 = kHalo1 + kKernel1 / 2 - 1;]=]
  CASE 5,1,float,zeros,1,1,6,9,90 CAUGHT output)

planted_fault(fma_ring_of_hidden1_one_row_short
  FILE fma_layers.cuh COMPILE forward_fma.cu
  OLD [=[constexpr int kSlack = kKernel2 - 1;]=]
  NEW [=[constexpr int kSlack = kKernel2 - 2;]=]
  CASE 3,1,float,zeros,1,1,9,9,90 CAUGHT output)

planted_fault(fma_ring_of_input_one_row_short
  FILE forward_fma.h COMPILE config.cpp forward_fma.cu
  OLD [=[constexpr int input_slots(int rows) { return rows + kKernel1 - 1; }]=]
  NEW [=[constexpr int input_slots(int rows) { return rows + kKernel1 - 2; }]=]
  CASE 1,1,float,zeros,1,1,17,9,90 CAUGHT output)

planted_fault(fma_edge_row_clamped_one_short
  FILE fma_layers.cuh COMPILE forward_fma.cu
  OLD [=[(r < 0 ? 0 : height - 1) - top;]=]
  NEW [=[(r < 0 ? 0 : height - 2) - top;]=]
  CASE 5,1,float,replicate,1,1,6,9,90 CAUGHT output)

planted_fault(fma_right_side_padded_from_outside
  FILE fma_layers.cuh COMPILE forward_fma.cu
  OLD [=[row[j] = row[right - 1];]=]
  NEW [=[row[j] = row[right];]=]
  CASE 3,1,float,replicate,1,1,6,9,90 CAUGHT output)

planted_fault(fma_weight_index_taps_before_channels
  FILE fma_layers.cuh COMPILE forward_fma.cu
  OLD [=[weight + (i * kKernel2 + ky) * kKernel2 * kWidth2]=]
  NEW [=[weight + (ky * kKernel2 + i) * kKernel2 * kWidth2]=]
  CASE 3,1,float,zeros,1,1,6,9,90 CAUGHT output)

planted_fault(fma_weights_of_the_first_chunk_only
  FILE fma_layers.cuh COMPILE forward_fma.cu
  OLD [=[kKernel2 * kKernel2, channel, chunk, weight);]=]
  NEW [=[kKernel2 * kKernel2, 0, chunk, weight);]=]
  CASE 5,1,float,zeros,1,1,5,9,75 CAUGHT output)

planted_fault(fma_partial_sums_of_nine_groups
  FILE fma_layers.cuh COMPILE forward_fma.cu
  OLD [=[for (int g = 0; g < kChannelGroups; ++g) {]=]
  NEW [=[for (int g = 0; g <= kChannelGroups; ++g) {]=]
  CASE 1,1,float,zeros,1,1,6,130,90 CAUGHT output)

planted_fault(fma_no_barrier_between_the_halves_of_conv2
  FILE fma_layers.cuh COMPILE forward_fma.cu
  OLD [=[  __syncthreads();
  if (wanted) {
]=]
  NEW [=[  if (wanted) {
]=]
  CASE 1,1,float,zeros,1,1,6,9,90 CAUGHT output)

planted_fault(fma_no_barrier_before_conv3
  FILE forward_fma.cu
  OLD [=[    __syncthreads();

    // ---- The output rows]=]
  NEW [=[    // ---- The output rows]=]
  CASE 1,1,float,zeros,1,1,6,9,90 CAUGHT output)

planted_fault(fma_open_rows_one_slot_short
  FILE forward_fma.h COMPILE config.cpp forward_fma.cu
  OLD [=[constexpr int open_slots(int rows) { return rows + kKernel3 - 1; }]=]
  NEW [=[constexpr int open_slots(int rows) { return rows + kKernel3 - 2; }]=]
  CASE 1,1,float,zeros,1,1,17,9,90 CAUGHT output)

planted_fault(fma_rows_outside_made_anew
  FILE fma_layers.cuh COMPILE forward_fma.cu
  OLD [=[window(min(max(r, 0), b.height() - 1), slots]=]
  NEW [=[window(r, slots]=]
  CASE 5,1,float,replicate,1,1,6,9,90 CAUGHT output)

# Sums are not affected: the floats are read and never used.
planted_fault(fma_reads_past_the_row
  FILE fma_layers.cuh COMPILE forward_fma.cu
  OLD [=[constexpr int kLoads = (kQuad + F - 1 + 3) / 4;]=]
  NEW [=[constexpr int kLoads = (kQuad + F - 1 + 3) / 4 + 16;]=]
  CASE 1,1,float,zeros,1,1,20,130,90 CAUGHT sanitizer SANITIZED)

planted_fault(rows_of_bicubic_weights_used_past_their_table
  FILE input_rows.cuh COMPILE forward_fma.cu
  OLD [=[r < tabulated + kRowTable)) return;]=]
  NEW [=[r <= tabulated + kRowTable)) return;]=]
  CASE 1,1,float,zeros,3,1,13,3,80 CAUGHT output)

planted_fault(no_barrier_after_the_table_of_rows
  FILE input_rows.cuh COMPILE forward_fma.cu
  OLD [=[    tabulate_rows(r);
    __syncthreads();
]=]
  NEW [=[    tabulate_rows(r);
]=]
  CASE 1,1,float,zeros,3,1,3,3,90 CAUGHT output)
