# Faults of the plain-FMA kernel. CMakeLists.txt says what the fields mean.

planted_fault(fma_no_barrier_after_input
  FILE forward_fma.cu
  OLD [=[          next0 = max(next0, last0 + 1);
          __syncthreads();
]=]
  NEW [=[          next0 = max(next0, last0 + 1);
]=]
  CASE 1,1,float,zeros,1,1,6,9,80 CAUGHT output)

planted_fault(fma_no_barrier_before_input
  FILE forward_fma.cu
  OLD [=[          __syncthreads();  // conv1 has done with the rows that are overwritten
]=]
  CASE 3,1,float,zeros,1,1,20,70,80 CAUGHT output)

planted_fault(fma_no_barrier_before_conv2
  FILE forward_fma.cu
  OLD [=[        __syncthreads();
        make_hidden2]=]
  NEW [=[        make_hidden2]=]
  CASE 1,1,float,zeros,1,1,6,9,90 CAUGHT output)

planted_fault(fma_no_barrier_after_partial_sums
  FILE forward_fma.cu
  OLD [=[make_float4(sum[0], sum[1], sum[2], sum[3]);
    __syncthreads();
]=]
  NEW [=[make_float4(sum[0], sum[1], sum[2], sum[3]);
]=]
  CASE 1,3,float,zeros,1,1,6,9,90 CAUGHT output)

planted_fault(fma_barrier_in_a_branch
  FILE forward_fma.cu
  OLD [=[    if (!wanted) continue;
#pragma unroll
    for (int ky = 0; ky < kKernel1; ++ky) {]=]
  NEW [=[    if (!wanted) continue;
    __syncthreads();
#pragma unroll
    for (int ky = 0; ky < kKernel1; ++ky) {]=]
  CASE 5,1,float,zeros,1,1,5,9,90 CAUGHT error)

planted_fault(fma_halo_off_by_one
  FILE forward_fma.cu
  OLD [=[kHalo0 = kHalo1 + kKernel1 / 2;]=]
  NEW [=[kHalo0 = kHalo1 + kKernel1 / 2 - 1;]=]
  CASE 5,1,float,zeros,1,1,6,9,90 CAUGHT output)

planted_fault(fma_ring_of_hidden1_one_row_short
  FILE forward_fma.cu
  OLD [=[constexpr int kSlack = kKernel2 - 1;]=]
  NEW [=[constexpr int kSlack = kKernel2 - 2;]=]
  CASE 3,1,float,zeros,1,1,9,9,90 CAUGHT output)

planted_fault(fma_ring_of_input_one_row_short
  FILE forward_fma.h COMPILE config.cpp forward_fma.cu
  OLD [=[constexpr int input_slots(int rows) { return rows + kKernel1 - 1; }]=]
  NEW [=[constexpr int input_slots(int rows) { return rows + kKernel1 - 2; }]=]
  CASE 1,1,float,zeros,1,1,17,9,90 CAUGHT output)

planted_fault(fma_edge_row_clamped_one_short
  FILE forward_fma.cu
  OLD [=[    r = r < 0 ? 0 : height - 1;]=]
  NEW [=[    r = r < 0 ? 0 : height - 2;]=]
  CASE 5,1,float,replicate,1,1,6,9,90 CAUGHT output)

planted_fault(fma_right_side_padded_from_outside
  FILE forward_fma.cu
  OLD [=[row[j] = row[right - 1];]=]
  NEW [=[row[j] = row[right];]=]
  CASE 3,1,float,replicate,1,1,6,9,90 CAUGHT output)

planted_fault(fma_weight_index_taps_before_channels
  FILE forward_fma.cu
  OLD [=[weight + (i * kKernel2 + ky) * kKernel2 * kWidth2]=]
  NEW [=[weight + (ky * kKernel2 + i) * kKernel2 * kWidth2]=]
  CASE 3,1,float,zeros,1,1,6,9,90 CAUGHT output)

planted_fault(fma_weights_of_the_first_chunk_only
  FILE forward_fma.cu
  OLD [=[kKernel2 * kKernel2, channel, chunk, weight);]=]
  NEW [=[kKernel2 * kKernel2, 0, chunk, weight);]=]
  CASE 5,1,float,zeros,1,1,5,9,75 CAUGHT output)

planted_fault(fma_partial_sums_of_nine_groups
  FILE forward_fma.cu
  OLD [=[for (int g = 0; g < kChannelGroups; ++g) total]=]
  NEW [=[for (int g = 0; g <= kChannelGroups; ++g) total]=]
  CASE 1,1,float,zeros,1,1,6,130,90 CAUGHT output)

# Sums are not affected: the floats are read and never used.
planted_fault(fma_reads_past_the_row
  FILE forward_fma.cu
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
