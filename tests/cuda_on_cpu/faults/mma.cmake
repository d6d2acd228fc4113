# Faults of the tensor-core kernels. CMakeLists.txt says what the fields mean. What all of them share is in headers; one of the
# sources that include them is enough.

set(f16 forward_mma_f16.cu)
set(wgmma forward_wgmma_f16.cu)

# ---- Barriers

planted_fault(mma_no_barrier_after_first_rows
  FILE forward_mma.cuh COMPILE ${f16}
  OLD [=[    find_units(b, row);
  }
  __syncthreads();
]=]
  NEW [=[    find_units(b, row);
  }
]=]
  CASE 5,1,half,zeros,1,1,6,9,90 CAUGHT output)

planted_fault(mma_no_barrier_after_hidden1
  FILE forward_mma.cuh COMPILE ${f16}
  OLD [=[    __syncthreads();

    // ---- conv2
]=]
  NEW [=[    // ---- conv2
]=]
  CASE 5,1,half,zeros,1,1,6,70,90 CAUGHT output)

planted_fault(mma_no_barrier_before_output
  FILE forward_mma.cuh COMPILE ${f16}
  OLD [=[        conv3_taps(afresh(b), c, hidden2_column, hidden2);
        __syncthreads();
]=]
  NEW [=[        conv3_taps(afresh(b), c, hidden2_column, hidden2);
]=]
  CASE 1,1,half,zeros,1,1,6,190,90 CAUGHT output)

planted_fault(mma_no_barrier_between_channels
  FILE forward_mma.cuh COMPILE ${f16}
  OLD [=[        if (c > 0) __syncthreads();  // the taps before have been added
]=]
  CASE 1,3,half,zeros,1,1,6,190,90 CAUGHT output)

planted_fault(mma_no_barrier_before_padding
  FILE forward_mma.cuh COMPILE ${f16}
  OLD [=[          __syncthreads();
        }
        if constexpr (Net::kWgmma) {]=]
  NEW [=[        }
        if constexpr (Net::kWgmma) {]=]
  CASE 3,1,half,replicate,1,1,6,40,90 CAUGHT output SEEDS 30)

planted_fault(mma_collective_in_a_branch
  FILE mma_layers.cuh COMPILE ${f16}
  OLD [=[  for (int q = 0; q < Net::kConv2Steps; ++q) {
#pragma unroll
    for (int kx = 0; kx < kKernel2; ++kx) {]=]
  NEW [=[  for (int q = 0; q < Net::kConv2Steps; ++q) {
#pragma unroll
    for (int kx = 0; kx < kKernel2 - (b.lane == 7); ++kx) {]=]
  CASE 3,1,half,zeros,1,1,6,9,90 CAUGHT error)

# ---- Weights on their way by cp.async (9-5-5 where a block has 99 KiB)

planted_fault(mma_no_wait_for_streamed_weights
  FILE mma_weights.cuh COMPILE ${f16}
  OLD [=[  ptx::cp_async_wait<kWeight2Ahead<Net> - 1>();
]=]
  CASE 5,1,half,zeros,1,1,6,9,86 CAUGHT output)

planted_fault(mma_wait_for_one_step_too_few
  FILE mma_weights.cuh COMPILE ${f16}
  OLD [=[cp_async_wait<kWeight2Ahead<Net> - 1>]=]
  NEW [=[cp_async_wait<kWeight2Ahead<Net>>]=]
  CASE 5,1,half,zeros,1,1,6,9,86 CAUGHT output)

planted_fault(mma_no_barrier_after_streamed_weights
  FILE mma_weights.cuh COMPILE ${f16}
  OLD [=[  if constexpr (Net::kWgmma) ptx::fence_proxy_async();
  __syncthreads();
  request_weights2]=]
  NEW [=[  request_weights2]=]
  CASE 5,1,half,zeros,1,1,6,90,86 CAUGHT output)

planted_fault(mma_streamed_weights_one_buffer_too_early
  FILE mma_weights.cuh COMPILE ${f16}
  OLD [=[(stream.buffer + ahead) % kWeight2Buffers;]=]
  NEW [=[(stream.buffer + ahead + 1) % kWeight2Buffers;]=]
  CASE 5,1,half,zeros,1,1,6,9,86 CAUGHT output)

# ---- Fragments

planted_fault(mma_weight_fragment_lane
  FILE mma_weights.cuh COMPILE ${f16}
  OLD [=[lane = column % 8 * 4 + unit % 4;]=]
  NEW [=[lane = unit % 4 * 8 + column % 8;]=]
  CASE 1,1,half,zeros,1,1,6,9,90 CAUGHT output)

planted_fault(mma_weight_fragment_registers_swapped
  FILE mma_weights.cuh COMPILE ${f16}
  OLD [=[tile % 2 * 2 + unit / 4;]=]
  NEW [=[tile % 2 * 2 + 1 - unit / 4;]=]
  CASE 1,1,half,zeros,1,1,6,9,90 CAUGHT output)

planted_fault(mma_chained_tiles_swapped
  FILE mma_operand.cuh COMPILE ${f16}
  OLD [=[sum[2 * q + half];]=]
  NEW [=[sum[2 * q + 1 - half];]=]
  CASE 1,1,half,zeros,1,1,6,9,90 CAUGHT output)

planted_fault(mma_chained_pixels_swapped
  FILE mma_operand.cuh COMPILE forward_mma_tf32.cu
  OLD [=[    a[1] = __float_as_uint(relu(s[2]));
    a[2] = __float_as_uint(relu(s[1]));]=]
  NEW [=[    a[1] = __float_as_uint(relu(s[1]));
    a[2] = __float_as_uint(relu(s[2]));]=]
  CASE 1,1,tf32,zeros,1,1,6,9,90 CAUGHT output)

planted_fault(mma_ldmatrix_chunks_swapped
  FILE mma_layers.cuh COMPILE ${f16}
  OLD [=[hidden1_at(b, b.lane / 16, b.first_pixel() + b.lane % 16);]=]
  NEW [=[hidden1_at(b, b.lane / 8 % 2, b.first_pixel() + b.lane % 8 + b.lane / 16 * 8);]=]
  CASE 3,1,half,zeros,1,1,6,9,90 CAUGHT output)

planted_fault(mma_ldmatrix_of_misaligned_rows
  FILE mma_layers.cuh COMPILE ${f16}
  OLD [=[row + (Net::kTileStride * m + kx) * 16);]=]
  NEW [=[row + (Net::kTileStride * m + kx) * 16 + 8);]=]
  CASE 3,1,half,zeros,1,1,6,9,90 CAUGHT error)

planted_fault(mma_kernel_rows_upside_down
  FILE mma_weights.cuh COMPILE ${f16}
  OLD [=[(kKernel2 - 1 - ky) * kWidth2 + output]=]
  NEW [=[ky * kWidth2 + output]=]
  CASE 3,1,half,zeros,1,1,6,9,90 CAUGHT output)

# ---- Halos, rings, edges

planted_fault(mma_halo_off_by_one
  FILE mma_block.cuh COMPILE ${f16}
  OLD [=[kHalo0 = kHalo1 + kKernel1 / 2;]=]
  NEW [=[kHalo0 = kHalo1 + kKernel1 / 2 + 1;]=]
  CASE 5,1,half,zeros,1,1,6,9,90 CAUGHT output)

planted_fault(mma_strip_one_column_too_wide
  FILE config_mma.cpp
  OLD [=[- 2 * (kKernel3 / 2);]=]
  NEW [=[- 2 * (kKernel3 / 2) + 1;]=]
  CASE 1,1,half,zeros,1,1,4,300,90 CAUGHT output)

planted_fault(mma_odd_pixels_one_column_off
  FILE mma_input.cuh COMPILE ${f16}
  OLD [=[? stride - 1 : 0;  // into]=]
  NEW [=[? stride + 1 : 0;  // into]=]
  CASE 1,1,half,zeros,1,1,6,9,90 CAUGHT output)

planted_fault(mma_ring_of_input_one_row_short
  FILE forward_mma.h COMPILE config_mma.cpp ${f16}
  OLD [=[kInputSlots = kKernel1 + 1;]=]
  NEW [=[kInputSlots = kKernel1;]=]
  CASE 1,1,half,zeros,1,1,20,190,90 CAUGHT output)

planted_fault(mma_row_below_the_image_is_read
  FILE mma_input.cuh COMPILE ${f16}
  OLD [=[const bool outside = row < 0 || row >= height;]=]
  NEW [=[const bool outside = row < 0 || row > height;]=]
  CASE 1,1,half,zeros,1,1,6,9,90 CAUGHT output)

planted_fault(mma_right_side_padded_from_outside
  FILE mma_layers.cuh COMPILE ${f16}
  OLD [=[edge = outside < left ? left : right - 1;]=]
  NEW [=[edge = outside < left ? left : right;]=]
  CASE 3,1,half,replicate,1,1,6,9,90 CAUGHT output)

planted_fault(mma_edge_row_not_repeated
  FILE forward_mma.cuh COMPILE ${f16}
  OLD [=[replicate || v == finished, open_rows]=]
  NEW [=[v == finished, open_rows]=]
  CASE 1,1,half,replicate,1,1,6,9,90 CAUGHT output)

planted_fault(mma_bicubic_edge_not_resolved
  FILE phased_input.cuh COMPILE ${f16}
  OLD [=[if (first < 0 || first + 3 >= size) at_the_edge]=]
  NEW [=[if (first < 0 || first + 3 > size) at_the_edge]=]
  CASE 1,1,half,zeros,2,1,6,9,90 CAUGHT output)

planted_fault(mma_taps_read_past_the_row
  FILE mma_output.cuh COMPILE ${f16}
  OLD [=[int pixel = column + kx;]=]
  NEW [=[int pixel = column + kx + 1;]=]
  CASE 1,1,half,zeros,1,1,6,9,90 CAUGHT output)

planted_fault(mma_last_taps_stored_past_the_array
  FILE mma_layers.cuh COMPILE ${f16}
  OLD [=[if (pair >= kTapPairs) continue;]=]
  NEW [=[if (pair > kTapPairs) continue;]=]
  CASE 1,1,half,zeros,1,1,6,9,90 CAUGHT sanitizer SANITIZED)

planted_fault(mma_taps_read_past_the_array
  FILE mma_output.cuh COMPILE ${f16}
  OLD [=[const float2 pair = taps[(kx * kColumnPairs + k) * stride + pixel];]=]
  NEW [=[const float2 pair = taps[(kx * kColumnPairs + k + 1) * stride + pixel];]=]
  CASE 1,1,half,zeros,1,1,6,9,90 CAUGHT sanitizer SANITIZED)

# ---- wgmma

planted_fault(wgmma_no_fence_for_hidden1
  FILE forward_mma.cuh COMPILE ${wgmma}
  OLD [=[        store_hidden1(afresh(b), hidden1_column, hidden1);
        if constexpr (Net::kWgmma) ptx::fence_proxy_async();]=]
  NEW [=[        store_hidden1(afresh(b), hidden1_column, hidden1);]=]
  CASE 3,1,wgmma,zeros,1,1,6,9,90 CAUGHT error)

planted_fault(wgmma_no_wait
  FILE wgmma_conv2.cuh COMPILE ${wgmma}
  OLD [=[  wait_for_sums(sum);
]=]
  NEW [=[]=]
  CASE 3,1,wgmma,zeros,1,1,6,9,90 CAUGHT error)

planted_fault(wgmma_halves_of_k_one_column_apart
  FILE wgmma_conv2.cuh COMPILE ${wgmma}
  OLD [=[weight2, kColumns * 16, kCoreMatrix);]=]
  NEW [=[weight2, kColumns * 16 - 16, kCoreMatrix);]=]
  CASE 3,1,wgmma,zeros,1,1,6,9,90 CAUGHT output)
